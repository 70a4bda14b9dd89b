"""Families of rows that end in covariates: `Conditional` and `GeneCounts`."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.likelihoods import (
    Categorical,
    Conditional,
    Gaussian,
    GeneCounts,
    Mixed,
    NegativeBinomial,
    Poisson,
    likelihood_from_dict,
)
from pyro_ssl.likelihoods.genes import GeneCountValues
from tests.elbos.test_enumerated import NoLooks
from tests.likelihoods.table import codes, counts, normal

SHAPE = (5,)
TABLE = Mixed((Gaussian(per="dimension"), Categorical(3)))
# Rows of values and then a batch, one of three, and a number.
COVARIATES = (Categorical(3), Gaussian())


def given(number=6):
    return torch.cat([codes(3)((number, 1)), normal((number, 1))], -1)


def sizes(number=6):
    return torch.tensor([0.3, 1.0, 8.0, 90.0, 700.0, 2e4], dtype=torch.float64)[:number, None]


def test_the_density_is_that_of_the_values_alone():
    family = Conditional(Gaussian(), COVARIATES)
    xs = torch.cat([normal((6, 3)), given()], -1)
    outputs = normal((6, *family.output_shape(SHAPE)))
    assert outputs.shape == (6, 6)
    p_x = family.distribution(outputs, SHAPE, None, xs[:, 3:])
    scale = 0.01 + F.softplus(outputs[:, 3:])
    wanted = torch.distributions.Normal(outputs[:, :3], scale).log_prob(xs[:, :3]).sum(-1)
    torch.testing.assert_close(p_x.log_prob(xs), wanted)
    assert p_x.event_shape == (5,)
    expanded = p_x.expand((4, 6))
    torch.testing.assert_close(expanded.log_prob(xs), wanted.expand(4, 6))
    assert expanded.sample().shape == (4, 6, 5)


def test_draws_and_means_keep_the_covariates_they_were_made_for():
    family = Conditional(Poisson(), COVARIATES)
    outputs, covariates = normal((2, 6, 3)), given()
    p_x = family.distribution(outputs, SHAPE, None, covariates)
    drawn = p_x.sample((500,))
    torch.testing.assert_close(drawn[..., 3:], covariates.expand(500, 2, 6, 2))
    means = family.mean(outputs, SHAPE, None, covariates)
    torch.testing.assert_close(means, torch.cat([outputs.exp(), covariates.expand(2, 6, 2)], -1))
    error = (outputs.exp() / 500).sqrt()
    assert ((drawn[..., :3].mean(0) - outputs.exp()).abs() < 5 * error).all()


def test_networks_see_a_category_as_indicators_and_a_number_as_it_is():
    family = Conditional(Poisson(), COVARIATES)
    xs = torch.cat([counts((6, 3)), given()], -1)
    seen = torch.cat([F.one_hot(xs[:, 3].long(), 3).double(), xs[:, 4:]], -1)
    torch.testing.assert_close(family.conditions(xs[:, 3:]), seen)
    assert family.num_conditions == 4
    torch.testing.assert_close(family.features(xs, SHAPE), torch.cat([xs[:, :3].log1p(), seen], -1))
    assert family.feature_shape(SHAPE) == (7,)


def test_a_missing_covariate_is_zeros_and_a_mask():
    family = Conditional(TABLE, COVARIATES, missing=True)
    assert family.takes_missing
    xs = torch.tensor([[0.3, 1, 2, math.nan], [math.nan, 0, math.nan, 0.5]]).double()
    wanted = torch.tensor([[0, 0, 1, 0, 1, 0], [0, 0, 0, 0.5, 0, 1]]).double()
    torch.testing.assert_close(family.conditions(xs[:, 2:]), wanted)
    family.check(xs)
    strict = Conditional(TABLE, COVARIATES)
    assert strict.takes_missing
    with pytest.raises(DataError, match="covariates, has the value nan in row 0"):
        strict.check(xs)
    outputs = normal((2, 4))
    shared = normal((1,))
    p_x = family.distribution(outputs, (4,), shared, xs[:, 2:])
    of_values = TABLE.distribution(outputs, (2,), shared).log_prob(xs[:, :2])
    torch.testing.assert_close(p_x.log_prob(xs), of_values)


def test_covariates_outside_their_families_are_named():
    family = Conditional(Poisson(), COVARIATES)
    xs = torch.cat([counts((6, 3)), given()], -1)
    family.check(xs)
    xs[4, 3] = 3.0
    with pytest.raises(
        DataError, match=r"xs, in its covariates, has the value 3 in row 4, .*column 0, Cat"
    ):
        family.check(xs)
    xs[4, 3], xs[2, 1] = 1.0, -1.0
    with pytest.raises(DataError, match=r"value -1 in row 2, .*Poisson takes counts"):
        family.check(xs)


def test_the_scaling_leaves_categories_alone_and_gives_covariates_no_density():
    family = Conditional(Gaussian(), COVARIATES)
    xs = torch.cat([3 + 2 * normal((50, 3)), codes(3)((50, 1)), 5 + 4 * normal((50, 1))], -1)
    scaling = family.fit_scaling(xs)
    scaled = scaling.apply(xs, torch.float64)
    torch.testing.assert_close(scaled[:, 3], xs[:, 3])
    columns = scaled[:, [0, 1, 2, 4]]
    torch.testing.assert_close(columns.mean(0), torch.zeros(4).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(columns.std(0, False), torch.ones(4).double())
    assert scaling.density.tolist() == [True, True, True, False, False]
    assert not torch.isclose(scaling.log_density(xs), torch.zeros(50).double()).any()


def test_families_are_kept_as_plain_values():
    family = Conditional(GeneCounts(target=300.0), ("gaussian", Categorical(3)), missing=True)
    assert family.covariates[0] == Gaussian()
    assert likelihood_from_dict(family.to_dict()) == family
    assert hash(family) == hash(likelihood_from_dict(family.to_dict()))
    with pytest.raises(ConfigError, match=r"covariates.*columns\[0\] is Multinomial"):
        Conditional(Gaussian(), ("multinomial",))
    with pytest.raises(ConfigError, match="takes rows of values and then 2 covariates"):
        Conditional(Gaussian(), COVARIATES).output_shape((2,))
    with pytest.raises(ConfigError, match=r"covariates is None, .* conditions on 2 numbers"):
        Conditional(Gaussian(), COVARIATES).mean(normal((6, 6)), SHAPE)
    with pytest.raises(ConfigError, match=r"covariates is of shape \(6, 1\)"):
        Conditional(Gaussian(), COVARIATES).mean(normal((6, 6)), SHAPE, None, normal((6, 1)))


@pytest.mark.parametrize("per", ["dimension", "all", "value", "fixed"])
def test_gene_counts_have_scipys_probabilities(per):
    fixed = per == "fixed"
    family = GeneCounts(total_count=2.5) if fixed else GeneCounts(per=per)
    xs = torch.cat([counts((6, 4)), sizes()], -1)
    xs[0, :4], xs[5, 0] = 0.0, 9000.0
    outputs, shared = normal((6, *family.output_shape(SHAPE))), None
    if family.num_shared(SHAPE):
        shared = normal((family.num_shared(SHAPE),))
    found = family.distribution(outputs, SHAPE, shared, xs[:, 4:]).log_prob(xs)
    shares = outputs[:, :4].exp() / outputs[:, :4].exp().sum(1, keepdim=True)
    mean = (xs[:, 4:] * shares).numpy()
    raw = outputs[:, 4:] if per == "value" else shared
    r = np.full((6, 4), 2.5) if fixed else (0.001 + F.softplus(raw)).numpy() * np.ones((6, 4))
    wanted = stats.nbinom.logpmf(xs[:, :4].numpy(), r, r / (r + mean)).sum(1)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)
    means = family.mean(outputs, SHAPE, shared, xs[:, 4:])
    np.testing.assert_allclose(means.numpy(), np.c_[mean, xs[:, 4:]], rtol=1e-9)


def test_gene_counts_are_accurate_in_float32():
    grid = torch.cartesian_prod(
        torch.tensor([0.0, 1, 7, 300, 20_000]),
        torch.tensor([1e-4, 1e-2, 1.0, 30, 2e4]),
        torch.tensor([1e-3, 0.1, 2.0, 1e3, 1e6]),
    )
    value, mean, r = (column[:, None] for column in grid.T)
    logs, r = mean.log().requires_grad_(), r.requires_grad_()
    found = GeneCountValues(logs, r).log_prob(value)
    exact = value.double(), mean.double().log().requires_grad_(), r.detach().double()
    exact[2].requires_grad_()
    wanted = torch.distributions.NegativeBinomial(
        exact[2], logits=exact[1] - exact[2].log(), validate_args=False
    ).log_prob(exact[0])[:, 0]
    by_scipy = stats.nbinom.logpmf(*(t.detach().numpy() for t in (
        exact[0], exact[2], exact[2] / (exact[2] + exact[1].exp())
    )))  # fmt: skip
    likely = wanted > -1000
    np.testing.assert_allclose(wanted[likely].detach(), by_scipy[likely, 0], rtol=1e-4, atol=1e-4)
    # Float32 keeps seven digits of the largest term, value log(mean); of log-gamma functions of
    # dispersions of 1e6, which are above 1e7, it would keep whole numbers.
    assert ((found - wanted).abs() <= 1e-3 + 3e-6 * wanted.abs() + 2e-7 * value[:, 0]).all()
    for ours, theirs in zip(
        torch.autograd.grad(found.sum(), (logs, r)),
        torch.autograd.grad(wanted.sum(), exact[1:]),
        strict=True,
    ):
        assert torch.isfinite(ours).all()
        assert ((ours - theirs).abs() <= 1e-4 + 1e-4 * theirs.abs() + 1e-6 * value).all()


def test_draws_of_genes_have_the_mean_and_the_variance():
    family = GeneCounts(total_count=3.0)
    outputs, size = normal((2, 4)), torch.tensor([[40.0], [400.0]]).double()
    p_x = family.distribution(outputs, SHAPE, None, size)
    drawn = p_x.sample((20_000,))
    mean = size * outputs.softmax(-1)
    variance = mean + mean**2 / 3
    assert ((drawn[..., :4].mean(0) - mean).abs() < 5 * (variance / 20_000).sqrt()).all()
    torch.testing.assert_close(drawn[..., :4].var(0), variance, rtol=0.1, atol=0)
    torch.testing.assert_close(drawn[..., 4:], size.expand(20_000, 2, 1))


def test_the_encoder_sees_normalised_counts_whatever_the_size():
    family = GeneCounts(target=50.0)
    xs = torch.cat([counts((6, 4)), sizes()], -1)
    seen = family.features(xs, SHAPE)
    torch.testing.assert_close(seen, (xs[:, :4] / xs[:, 4:] * 50).log1p())
    torch.testing.assert_close(family.features(3 * xs, SHAPE), seen)


@pytest.mark.parametrize(("place", "value"), [(4, 0.0), (4, math.inf), (1, 0.5), (1, -1.0)])
def test_normalised_counts_and_empty_cells_are_refused(place, value):
    xs = torch.cat([counts((6, 4)), sizes()], -1)
    GeneCounts().check(xs)
    xs[3, place] = value
    with pytest.raises(DataError, match=r"in row 3, but the likelihood GeneCounts takes counts"):
        GeneCounts().check(xs)


def test_a_batch_beside_the_size_of_a_cell():
    """`Conditional` of a family that has a covariate itself: rows [counts, size, batch]."""
    family, shape = Conditional(GeneCounts(), (Categorical(3),)), (6,)
    assert (family.num_covariates, family.num_conditions) == (2, 3)
    batch = codes(3)((6, 1))
    xs = torch.cat([counts((6, 4)), sizes(), batch], -1)
    family.check(xs)
    outputs, shared = normal((6, *family.output_shape(shape))), normal((4,))
    found = family.distribution(outputs, shape, shared, xs[:, 4:])
    alone = GeneCounts().distribution(outputs, SHAPE, shared, xs[:, 4:5])
    torch.testing.assert_close(found.log_prob(xs), alone.log_prob(xs[:, :5]))
    torch.testing.assert_close(found.mean, torch.cat([alone.mean, batch], -1))
    assert family.features(xs, shape).shape == (6, 7)
    torch.testing.assert_close(family.conditions(xs[:, 4:]), F.one_hot(batch[:, 0].long(), 3) * 1.0,
                               check_dtype=False)  # fmt: skip
    assert family.num_shared(shape) == 4


@pytest.mark.parametrize(
    "family", [Conditional(NegativeBinomial(), COVARIATES), Conditional(TABLE, COVARIATES)]
)
def test_nothing_but_checks_reads_values(family):
    values = counts((6, 3)) if family.likelihood != TABLE else torch.zeros(6, 2).double()
    xs = torch.cat([values, given()], -1)
    shape = (xs.shape[1],)
    outputs = normal((6, *family.output_shape(shape)))
    shared = normal((family.num_shared(shape),))

    def everything(xs, outputs, shared):
        seen = family.features(xs, shape), family.conditions(xs[..., -2:])
        p_x = family.distribution(outputs, shape, shared, xs[..., -2:])
        return *seen, p_x.log_prob(xs), family.mean(outputs, shape, shared, xs[..., -2:])

    with NoLooks():
        everything(xs, outputs, shared)
    traced = make_fx(everything)(xs, outputs, shared)
    for ours, theirs in zip(
        traced(xs, outputs, shared), everything(xs, outputs, shared), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
