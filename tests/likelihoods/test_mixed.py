import math

import pyro
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    LogNormal,
    Mixed,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)
from tests.elbos.test_enumerated import NoLooks
from tests.likelihoods.table import binary, codes, counts, normal, positive

# Families and how to draw their values; some are side by side, one comes twice.
COLUMNS = (
    (Gaussian(), normal),
    (Gaussian(), normal),
    (Categorical(3), codes(3)),
    (Categorical(3), codes(3)),
    (Poisson(), counts),
    (Gaussian(per="dimension"), normal),
    (Gaussian(), normal),
    (LogNormal(), positive),
    (Bernoulli(), binary),
    (NegativeBinomial(), counts),
    (Ordinal(4), codes(4)),
    (StudentT(df=None, per="all"), normal),
)
SHAPE = (len(COLUMNS),)


@pytest.fixture
def mixed() -> Mixed:
    return Mixed(tuple(family for family, _ in COLUMNS))


def rows(number: int = 5) -> torch.Tensor:
    return torch.cat([draw((number, 1)) for _, draw in COLUMNS], -1)


def with_gaps(xs: torch.Tensor, share: float = 0.3) -> torch.Tensor:
    gaps = torch.rand(xs.shape) < share
    gaps[0], gaps[1] = True, False
    return torch.where(gaps, math.nan, xs)


def parameters(mixed):
    outputs = torch.randn(5, *mixed.output_shape(SHAPE), dtype=torch.float64)
    return outputs.requires_grad_(), torch.randn(mixed.num_shared(SHAPE)).double().requires_grad_()


def log_prob_by_hand(xs, outputs, shared):
    """Sum over the known entries of each row, column by column."""
    total, at, start = [], 0, 0
    # Outputs of equal neighbours come as all first ones, all second ones.
    groups = [(0, 2), (2, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11), (11, 12)]
    for low, high in groups:
        family, number = COLUMNS[low][0], high - low
        each = family.outputs_per_value
        block = outputs[:, at : at + number * each]
        at += number * each
        for column in range(number):
            outputs_of_column = block[:, column::number]
            own = shared[start : start + family.num_shared((1,))]
            start += len(own)
            log_p = family.values(outputs_of_column, (1,), own if len(own) else None)
            for row in range(len(xs)):
                x = xs[row, low + column]
                if not math.isnan(x):
                    total.append(log_p.log_prob(x.expand(len(xs), 1))[row, 0])
    return sum(total)


@pytest.mark.parametrize("gaps", [False, True])
def test_log_prob_and_gradients_are_the_sum_over_known_entries(mixed, gaps):
    xs = with_gaps(rows()) if gaps else rows()
    outputs, shared = parameters(mixed)
    found = mixed.distribution(outputs, SHAPE, shared).log_prob(xs)
    assert found.shape == (5,)
    by_hand = log_prob_by_hand(xs, outputs, shared)
    torch.testing.assert_close(found.sum(), by_hand, atol=1e-9, rtol=1e-9)
    wanted = torch.autograd.grad(by_hand, (outputs, shared))
    torch.testing.assert_close(torch.autograd.grad(found.sum(), (outputs, shared)), wanted)


def test_missing_entries_contribute_exactly_nothing(mixed):
    xs = with_gaps(rows(), 0.5)
    outputs, shared = parameters(mixed)
    found = mixed.distribution(outputs, SHAPE, shared).log_prob(xs)
    gradient, common = torch.autograd.grad(found.sum(), (outputs, shared))
    # The first row knows nothing at all.
    assert found[0] == 0
    assert torch.equal(gradient[0], torch.zeros_like(gradient[0]))
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(common).all()
    # Whatever stands where an entry is missing would change nothing, to the last bit.
    for column in range(SHAPE[0]):
        alone = torch.full_like(xs, math.nan)
        alone[:, column] = xs[:, column]
        log_p = mixed.distribution(outputs, SHAPE, shared).log_prob(alone)
        assert torch.equal(log_p == 0, xs[:, column].isnan())


def test_features_are_zero_where_missing_and_end_with_the_mask(mixed):
    xs = with_gaps(rows())
    found = mixed.features(xs, SHAPE)
    assert found.shape == (5, *mixed.feature_shape(SHAPE))
    assert torch.isfinite(found).all()
    width = SHAPE[0]
    assert torch.equal(found[:, -width:], (~xs.isnan()).double())
    assert torch.equal(found[0], torch.zeros_like(found[0]))
    # Two normal columns, and six indicators of two columns, those of category 0 first.
    torch.testing.assert_close(found[:, :2], xs[:, :2].nan_to_num(0.0))
    indicators = torch.stack([(xs[:, 2 + c] == k) for k in range(3) for c in range(2)], -1)
    assert torch.equal(found[:, 2:8], indicators.double())
    torch.testing.assert_close(found[:, 8], (1 + xs[:, 4]).log().nan_to_num(0.0))
    without = Mixed(mixed.columns, missing=False)
    torch.testing.assert_close(without.features(rows(), SHAPE).shape[1], found.shape[1] - width)


def test_means_and_samples_of_each_column_are_its_familys(mixed):
    outputs, shared = parameters(mixed)
    means = mixed.mean(outputs, SHAPE, shared)
    torch.testing.assert_close(means[:, :2], outputs[:, :2])
    torch.testing.assert_close(means[:, 4], outputs[:, 10].exp())
    drawn = mixed.distribution(outputs, SHAPE, shared).sample((3000,))
    assert (drawn.shape, drawn.dtype) == ((3000, 5, *SHAPE), torch.float64)
    assert mixed.inside(drawn).all()
    smooth = [0, 1, 4, 5, 6, 8]
    error = drawn.std(0) / 3000**0.5
    assert ((drawn.mean(0) - means).abs() / error)[:, smooth].max() < 5


def test_nothing_is_looked_at_and_a_recording_gives_the_same(mixed):
    outputs, shared = parameters(mixed)
    xs = with_gaps(rows())

    def step(outputs, shared, xs):
        log_p = mixed.distribution(outputs, SHAPE, shared).log_prob(xs).sum()
        features = mixed.features(xs, SHAPE)
        return (features.sum() + log_p, *torch.autograd.grad(log_p, (outputs, shared)))

    with pyro.validation_enabled(False), NoLooks():
        wanted = step(outputs, shared, xs)
    with pyro.validation_enabled(False):
        recorded = make_fx(step)(outputs, shared, xs)
    other = with_gaps(rows(), 0.6)
    torch.testing.assert_close(recorded(outputs, shared, xs), wanted)
    torch.testing.assert_close(recorded(outputs, shared, other), step(outputs, shared, other))


def test_what_a_column_does_not_take_is_named(mixed):
    xs = with_gaps(rows())
    mixed.check(xs)
    xs[3, 4] = -1.0
    with pytest.raises(
        DataError, match=r"xs has the value -1 in row 3, but column 4, Poisson, tak"
    ):
        mixed.check(xs)
    strict = Mixed(mixed.columns, missing=False)
    assert (mixed.takes_missing, strict.takes_missing) == (True, False)
    with pytest.raises(DataError, match="value nan in row 0, but column 0, Gaussian, takes finite"):
        strict.check(xs)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ((), r"columns is \(\)"),
        (3, "columns is 3"),
        (("gaussian", "multinomial"), r"columns\[1\] is Multinomial"),
        ((Mixed(("gaussian",)),), r"columns\[0\] is Mixed"),
        (("gauss",), "likelihood is 'gauss'"),
    ],
)
def test_columns_that_cannot_work_are_named(columns, says):
    with pytest.raises(ConfigError, match=says):
        Mixed(columns)


def test_rows_of_another_width_are_named(mixed):
    with pytest.raises(ConfigError, match=r"input_shape is \(3,\), but Mixed has 12 columns"):
        mixed.output_shape((3,))


def test_scaling_is_each_columns_own_and_leaves_gaps_alone(mixed):
    xs = with_gaps(rows(400), 0.2)
    scaling = mixed.fit_scaling(xs)
    scaled = scaling.apply(xs, torch.float64)
    assert torch.equal(scaled.isnan(), xs.isnan())
    for column in (0, 1, 5, 6):
        known = scaled[:, column][~xs[:, column].isnan()]
        torch.testing.assert_close(known.mean(), torch.tensor(0.0).double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(known.std(correction=0), torch.tensor(1.0).double())
    for column in (2, 3, 4, 8, 9, 10):
        torch.testing.assert_close(scaled[:, column], xs[:, column], equal_nan=True)
    logs = scaled[:, 7].log()
    torch.testing.assert_close(logs.nanmean(), torch.tensor(0.0).double(), atol=1e-9, rtol=0)
    mixed.check(scaled)
