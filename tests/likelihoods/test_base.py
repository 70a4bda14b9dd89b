import json
import math
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pyro.distributions as dist
import pytest
import torch

from pyro_ssl.errors import ConfigError
from pyro_ssl.likelihoods import (
    FAMILIES,
    BagOfWords,
    Bernoulli,
    Categorical,
    Conditional,
    Gaussian,
    GeneCounts,
    Laplace,
    Likelihood,
    LogNormal,
    Mixed,
    Multinomial,
    NegativeBinomial,
    Ordinal,
    Poisson,
    Scaling,
    StudentT,
    as_likelihood,
    likelihood_from_dict,
    register_likelihood,
)

ALL = (
    Bernoulli(),
    Laplace(0.3),
    Gaussian(),
    Gaussian(0.7),
    Gaussian(per="dimension", min_scale=0.2),
    StudentT(df=None),
    LogNormal(per="all"),
    Poisson(),
    NegativeBinomial(2.0),
    Multinomial(),
    Categorical(3),
    Ordinal(4),
    Mixed(("gaussian", Categorical(3)), missing=False),
    GeneCounts(target=900.0, per="all"),
    Conditional(GeneCounts(), (Categorical(3), "gaussian"), missing=True),
)


def test_every_family_is_in_the_table():
    assert {type(likelihood).__name__ for likelihood in ALL} == set(FAMILIES)


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_plain_data_brings_a_likelihood_back(likelihood):
    again = likelihood_from_dict(json.loads(json.dumps(likelihood.to_dict())))
    assert again == likelihood
    assert hash(again) == hash(likelihood)
    with pytest.raises(FrozenInstanceError):
        likelihood.anything = 3


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "family is None"),
        ({"family": "os.system"}, "family is 'os.system', which is none of"),
        ({"family": "Laplace", "size": 3}, "Laplace has no size, expected scale"),
        ({"family": "Laplace", "scale": -1}, "scale is -1"),
        ({"family": "Mixed", "columns": [{"family": "open"}]}, "family is 'open'"),
    ],
)
def test_plain_data_that_is_no_likelihood_is_named(state, says):
    with pytest.raises(ConfigError, match=says):
        likelihood_from_dict(state)


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("bernoulli", Bernoulli()),
        ("laplace", Laplace()),
        ("gaussian", Gaussian()),
        ("student_t", StudentT()),
        ("negative_binomial", NegativeBinomial()),
        ("log_normal", LogNormal()),
        ("multinomial", Multinomial()),
    ],
)
def test_names_stand_for_likelihoods(name, likelihood):
    assert as_likelihood(name) == likelihood
    assert as_likelihood(likelihood) is likelihood


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("gauss", "likelihood is 'gauss', expected one of bernoulli"),
        ("categorical", r"which needs options: give Categorical\("),
        (3, "likelihood is 3"),
        (None, "likelihood is None"),
        (Gaussian, "likelihood is <class"),
    ],
)
def test_what_is_no_likelihood_is_named(bad, says):
    with pytest.raises(ConfigError, match=says):
        as_likelihood(bad)


def test_numbers_become_pythons_own():
    for number in (np.float32(0.5), np.array(0.5), torch.tensor(0.5)):
        likelihood = Gaussian(number, per="all")
        assert type(likelihood.scale) is float
        assert likelihood == Gaussian(0.5, per="all")
    assert type(Categorical(np.int64(3)).num_categories) is int


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: Laplace(v), "scale"),
        (lambda v: Gaussian(v or 0), "scale"),
        (lambda v: Gaussian(min_scale=v), "min_scale"),
        (lambda v: StudentT(df=v or 0), "df"),
        (lambda v: NegativeBinomial(v or 0), "total_count"),
        (lambda v: Categorical(v), "num_categories"),
        (lambda v: Ordinal(v), "num_levels"),
    ],
)
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1", None, True, (1.0,)])
def test_options_that_cannot_work_are_named(make, name, value):
    with pytest.raises(ConfigError, match=f"^{name} is "):
        make(value)


def test_other_options_that_cannot_work_are_named():
    with pytest.raises(ConfigError, match="per is 'row', expected one of value, dimension, all"):
        Gaussian(per="row")
    with pytest.raises(ConfigError, match=r"df is 1.0, expected a number above 1"):
        StudentT(df=1.0)
    with pytest.raises(ConfigError, match=r"num_categories is 2\.5"):
        Categorical(2.5)
    with pytest.raises(ConfigError, match=r"input_shape is \(1, 2\), but Multinomial"):
        Multinomial().output_shape((1, 2))


@dataclass(frozen=True)
class Exponential(Likelihood):
    floor: float = 0.1

    def values(self, outputs, input_shape, shared=None):
        return dist.Exponential(outputs.exp() + self.floor, validate_args=False)

    def inside(self, xs):
        return xs >= 0


def test_a_users_likelihood_is_loaded_once_it_is_registered():
    state = Exponential(0.2).to_dict()
    with pytest.raises(ConfigError, match=r"'Exponential'.*@register_likelihood"):
        likelihood_from_dict(state)
    try:
        register_likelihood(Exponential)
        assert likelihood_from_dict(state) == Exponential(0.2)
    finally:
        del FAMILIES["Exponential"]


def test_bag_of_words_expands_to_the_same_words():
    logits, value = torch.randn(3, 1, 5), torch.randint(0, 4, (3, 2, 5)).float()
    one = BagOfWords(logits)
    more = one.expand(torch.Size([3, 2]))
    assert (more.batch_shape, more.event_shape) == ((3, 2), (5,))
    torch.testing.assert_close(more.log_prob(value), one.log_prob(value))
    torch.testing.assert_close(more.mean, logits.softmax(-1).expand(3, 2, 5))


def test_bytes_are_divided_and_a_density_of_pixels_is_corrected():
    raw = torch.randint(0, 256, (6, 2, 3), dtype=torch.uint8)
    for likelihood, correction in ((Bernoulli(), 0.0), (Laplace(), -6 * math.log(255))):
        scaling = likelihood.fit_scaling(raw)
        torch.testing.assert_close(scaling.apply(raw), raw.float() / 255)
        found = scaling.log_density(raw)
        torch.testing.assert_close(found, torch.full((6,), correction).double())


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), StudentT(scale=0.5), LogNormal(0.5)])
def test_log_density_of_raw_values_is_that_of_the_distribution_scaled_back(likelihood):
    raw = (3 + 2 * torch.randn(500, 2).double()).exp()
    scaling = likelihood.fit_scaling(raw)
    xs, outputs = scaling.apply(raw, torch.float64), torch.randn(500, 2).double()
    torch.testing.assert_close(scaling.undo(xs), raw)
    p_x = likelihood.values(outputs, (2,))
    affine = dist.transforms.AffineTransform(scaling.shift, scaling.scale)
    back = dist.TransformedDistribution(p_x, [affine]).to_event(1)
    found = likelihood.distribution(outputs, (2,)).log_prob(xs) + scaling.log_density(xs)
    torch.testing.assert_close(found, back.log_prob(raw))


def test_scalings_leave_gaps_constants_and_wild_values_alone():
    raw = torch.randn(1000, 4).double() * torch.tensor([1.0, 5.0, 0.0, 1.0]) + 3
    raw[::7, 0] = math.nan
    raw[:, 3] = math.nan
    raw[0, 1] = 1e9
    standard, robust = Scaling.standard(raw), Scaling.robust(raw)
    assert standard.scale[1] > 1e7
    assert robust.scale[1] == pytest.approx(5, rel=0.15)
    assert robust.shift[1] == pytest.approx(3, abs=1)
    for scaling in (standard, robust):
        assert torch.isfinite(scaling.shift).all()
        assert scaling.scale[2:].tolist() == [1, 1]
        assert scaling.log_density(raw).shape == (1000,)
        gap = scaling.log_density(raw)[7] - scaling.log_density(raw)[8]
        torch.testing.assert_close(gap, scaling.scale[0].log())
        again = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
        torch.testing.assert_close(again.apply(raw), scaling.apply(raw), equal_nan=True)
