import math

import numpy as np
import pyro
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_ssl.errors import DataError
from pyro_ssl.likelihoods import Categorical, Gaussian, Mixed, Multinomial, Ordinal
from tests.elbos.test_enumerated import NoLooks
from tests.likelihoods.table import TABLE

SHAPE = (2, 3, 2)
ROWS = (4, 5)


@pytest.fixture(params=TABLE)
def family(request):
    return TABLE[request.param]


def outputs_of(likelihood, shape=SHAPE, rows=ROWS, dtype=torch.float64):
    outputs = torch.randn(*rows, *likelihood.output_shape(shape), dtype=dtype)
    number = likelihood.num_shared(shape)
    return outputs, torch.randn(number, dtype=dtype) if number else None


def numbers_of(likelihood, outputs, shared, shape=SHAPE):
    """For each value its outputs, then the shared numbers of its dimension: `[..., P, numbers]`."""
    size = math.prod(shape)
    each = outputs.flatten(-len(shape)).unflatten(-1, (-1, size)).movedim(-2, -1)
    if shared is None:
        return each
    if len(shared) == 1:
        shared = shared.expand(size)
    return torch.cat([each, shared.view(size, -1).expand(*each.shape[:-1], -1)], -1)


def test_log_prob_is_scipys(family):
    likelihood, xs = family.likelihood, family.draw((*ROWS, *SHAPE))
    outputs, shared = outputs_of(likelihood)
    found = likelihood.distribution(outputs, SHAPE, shared)
    assert (found.batch_shape, found.event_shape) == (ROWS, SHAPE)
    numbers = numbers_of(likelihood, outputs, shared).flatten(0, -2).numpy()
    values = xs.flatten().numpy()
    each = [family.log_prob(x, *row) for x, row in zip(values, numbers, strict=True)]
    wanted = torch.tensor(np.array(each)).view(*ROWS, -1).sum(-1)
    torch.testing.assert_close(found.log_prob(xs), wanted, atol=1e-9, rtol=1e-9)


def test_gradients_are_the_differences_of_log_prob(family):
    likelihood, xs = family.likelihood, family.draw((2, *SHAPE))
    outputs, shared = outputs_of(likelihood, rows=(2,))
    inputs = [t.requires_grad_() for t in (outputs, shared) if t is not None]

    def total(*tensors):
        return likelihood.distribution(tensors[0], SHAPE, *tensors[1:]).log_prob(xs).sum()

    assert torch.autograd.gradcheck(total, inputs, atol=1e-6)


def test_probabilities_sum_to_one(family):
    likelihood, shape = family.likelihood, (2,)
    outputs, shared = outputs_of(likelihood, shape, ())
    p_x = likelihood.values(outputs, shape, shared)
    if family.points:
        points = torch.tensor(family.points, dtype=torch.float64).unsqueeze(-1).expand(-1, 2)
        found = p_x.log_prob(points).exp().sum(0)
        torch.testing.assert_close(found, torch.ones(2).double(), atol=1e-6, rtol=0)
        return
    # A grid that is fine near the mean and reaches far out, its steps weighted by their lengths.
    steps = torch.linspace(-20, 20, 400_001, dtype=torch.float64).unsqueeze(-1)
    positive = family.draw.__name__ == "positive"
    grid = steps.exp() if positive else likelihood.mean(outputs, shape, shared) + steps.sinh()
    lengths = grid if positive else steps.cosh()
    mass = torch.trapezoid(p_x.log_prob(grid).exp() * lengths, steps, dim=0)
    torch.testing.assert_close(mass, torch.ones(2).double(), atol=1e-6, rtol=0)


def test_mean_is_that_of_samples(family):
    likelihood, shape, draws = family.likelihood, (3,), 40_000
    if isinstance(likelihood, (Categorical, Ordinal)):
        pytest.skip("categories have no mean")
    outputs, shared = outputs_of(likelihood, shape, (2,))
    drawn = likelihood.distribution(outputs, shape, shared).sample((draws,)).double()
    error = drawn.std(0) / draws**0.5
    # Of a Student-t of few degrees of freedom the standard error is itself uncertain.
    off = (drawn.mean(0) - likelihood.mean(outputs, shape, shared)).abs() / error
    assert off.max() < 5


@pytest.mark.parametrize("likelihood", [Categorical(3), Ordinal(4)])
def test_the_mean_of_categories_is_the_likeliest(likelihood):
    outputs, shared = outputs_of(likelihood)
    p_x = likelihood.values(outputs, SHAPE, shared)
    codes = p_x.enumerate_support()
    each = torch.stack([p_x.log_prob(c) for c in codes])
    means = likelihood.mean(outputs, SHAPE, shared)
    assert means.dtype == outputs.dtype
    assert torch.equal(means.long(), each.argmax(0))
    counts = p_x.sample((4000,))
    share = (counts == 0).double().mean(0)
    assert (share - each[0].exp()).abs().max() < 5 * 0.5 / 4000**0.5


def test_nothing_is_looked_at_or_copied_and_a_recording_gives_the_same(family):
    likelihood = family.likelihood
    outputs, shared = outputs_of(likelihood)
    shared = torch.zeros(1).double() if shared is None else shared
    xs = family.draw((*ROWS, *SHAPE))

    def step(outputs, shared, xs):
        p_x = likelihood.distribution(
            outputs, SHAPE, shared if likelihood.num_shared(SHAPE) else None
        )
        log_p = p_x.log_prob(xs).sum()
        features = likelihood.features(xs, SHAPE)
        return (features.sum() + log_p, *torch.autograd.grad(log_p, outputs))

    arguments = [outputs.requires_grad_(), shared.requires_grad_(), xs]
    with pyro.validation_enabled(False), NoLooks():
        wanted = step(*arguments)
    with pyro.validation_enabled(False):
        recorded = make_fx(step)(*arguments)
    # A number that becomes a tensor in each step would be a copy from main memory.
    assert not [n for n in recorded.graph.nodes if "lift_fresh" in str(n.target)]
    others = [outputs_of(likelihood)[0].requires_grad_(), arguments[1], arguments[2]]
    torch.testing.assert_close(recorded(*arguments), wanted)
    torch.testing.assert_close(recorded(*others), step(*others))


def test_log_prob_stays_finite_in_float32_far_out(family):
    likelihood = family.likelihood
    xs = family.draw((6, 3)).float()
    for size in (-30.0, 30.0):
        outputs = torch.full((6, *likelihood.output_shape((3,))), size, requires_grad=True)
        number = likelihood.num_shared((3,))
        shared = torch.full((number,), size, requires_grad=True) if number else None
        log_p = likelihood.distribution(outputs, (3,), shared).log_prob(xs).sum()
        log_p.backward()
        assert torch.isfinite(log_p)
        assert torch.isfinite(outputs.grad).all()
        assert number == 0 or torch.isfinite(shared.grad).all()


def test_inputs_outside_the_support_are_named(family):
    likelihood = family.likelihood
    xs = family.draw((7, *SHAPE))
    likelihood.check(xs)
    for bad in (math.nan, math.inf):
        wrong = xs.clone()
        wrong[5, 0, 1, 1] = bad
        with pytest.raises(DataError, match=rf"rows has the value {bad} in row 5, but the likel"):
            likelihood.check(wrong, "rows")
    if family.draw.__name__ != "normal":
        wrong[5, 0, 1, 1] = -1.0
        with pytest.raises(DataError, match="xs has the value -1 in row 5"):
            likelihood.check(wrong)


def test_expanded_distributions_are_the_same(family):
    likelihood = family.likelihood
    outputs, shared = outputs_of(likelihood, rows=(1, 5))
    one = likelihood.distribution(outputs, SHAPE, shared)
    more = one.expand(torch.Size([4, 5]))
    xs = family.draw((*ROWS, *SHAPE))
    assert (more.batch_shape, more.event_shape) == (ROWS, SHAPE)
    torch.testing.assert_close(more.log_prob(xs), one.log_prob(xs))


def test_multinomial_is_the_probability_of_words_in_order():
    likelihood, outputs = Multinomial(), torch.randn(4, 6).double()
    xs = torch.poisson(torch.ones(4, 6).double())
    by_hand = torch.stack(
        [
            sum(n * row.log_softmax(0)[w] for w, n in enumerate(x))
            for row, x in zip(outputs, xs, strict=True)
        ]
    )
    torch.testing.assert_close(likelihood.distribution(outputs, (6,)).log_prob(xs), by_hand)
    torch.testing.assert_close(likelihood.mean(outputs, (6,)), outputs.softmax(-1))
    torch.testing.assert_close(likelihood.features(xs, (6,)), (1 + xs).log())


def test_indicators_are_in_the_order_of_the_outputs():
    xs = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    found = Categorical(3).features(xs, (2,))
    assert found.tolist() == [[1, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0]]
    assert Categorical(3).feature_shape((2,)) == (6,)


def test_gaussian_of_a_constant_is_bounded_and_pulls_the_scale_no_further_than_its_floor():
    raw = torch.tensor([-1e4, -200.0, -30.0])
    outputs = torch.cat([torch.zeros(3), raw]).requires_grad_()
    found = Gaussian(min_scale=0.01).values(outputs, (3,)).log_prob(torch.zeros(3))
    torch.testing.assert_close(found.detach(), torch.full((3,), -math.log(0.01 * math.tau**0.5)))
    (gradient,) = torch.autograd.grad(found.sum(), outputs)
    # The further below its floor, the less the scale is pulled; without one it would be by 1.
    assert gradient[3:].abs().max() < 1e-10


def test_mixed_is_in_no_table_of_single_values():
    assert not Mixed(("gaussian",)).by_value
