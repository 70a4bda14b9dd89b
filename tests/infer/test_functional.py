import copy

import pyro
import pytest
import torch
from torch.func import vmap

from pyro_ssl.infer.ensemble_batches import MemberBatches
from pyro_ssl.infer.ensemble_gradients import MappedGradients, MemberGradients
from pyro_ssl.infer.ensemble_step import stacked_parameters
from pyro_ssl.infer.functional import Recorded, functional_programs
from pyro_ssl.infer.objective import Objective
from tests.infer.ensembles import (
    MODELS,
    UNMAPPED,
    KnownNoise,
    config,
    gradients_of,
    member_batch,
    problem,
)

EXACT = {"atol": 1e-10, "rtol": 1e-10}


@pytest.fixture(autouse=True)
def as_in_training():
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        yield


@pytest.mark.parametrize("name", [*MODELS, *UNMAPPED])
def test_loss_and_gradients_of_each_member_are_those_of_its_objective(name):
    models, xs, ys, members = problem(name)
    twins = copy.deepcopy(models)
    batches = MemberBatches(xs, ys, members, config())
    kind = MappedGradients if name in MODELS else MemberGradients
    with KnownNoise(), stacked_parameters(models) as weights:
        gradients = kind(models, weights, batches, {})
        # The second minibatch is another one than was recorded.
        for number in (1, 0):
            found, losses = gradients(*batches(number))
            for e, (twin, member) in enumerate(zip(twins, members, strict=True)):
                rows = len(member.labelled), len(member.unlabelled)
                objective = Objective(twin, *rows).train()
                loss, expected = gradients_of(objective, member_batch(batches, number, e))
                torch.testing.assert_close(losses[e], loss, **EXACT)
                torch.testing.assert_close([g[e] for g in found], expected, **EXACT)
        assert len(losses.unique()) == len(models)
    # No part of the comparison may be of zeros alone.
    active = sum(bool(g.abs().max() > 0) for g in found)
    assert active >= len(found) - 2


@pytest.mark.parametrize("name", ["M2", "CCVAE", "MixedM2", "ConditionalM2"])
def test_programs_at_once_and_one_by_one_have_the_same_gradients(name):
    models, xs, ys, members = problem(name)
    batches = MemberBatches(xs, ys, members, config())
    with KnownNoise(), stacked_parameters(models) as weights:
        results = [
            kind(models, weights, batches, {})(*batches(1))
            for kind in (MappedGradients, MemberGradients)
        ]
    torch.testing.assert_close(*results, **EXACT)


def test_moved_weights_move_the_recorded_gradients():
    models, xs, ys, members = problem("M2")
    batches = MemberBatches(xs, ys, members, config())
    with KnownNoise(), stacked_parameters(models) as weights:
        at_once = MappedGradients(models, weights, batches, {})
        before, _ = at_once(*batches(0))
        for weight in weights.values():
            weight.data.mul_(1.1)
        after, losses = at_once(*batches(0))
        expected = MemberGradients(models, weights, batches, {})(*batches(0))
        torch.testing.assert_close((list(after), losses), expected, **EXACT)
    assert (after[0] - before[0]).abs().max() > 1e-3


def noise_of(shape, count):
    """A recorded function that returns its members' draws."""

    def draws(loc):
        with functional_programs():
            return torch.distributions.Normal(loc, 1.0).rsample()

    def function(loc):
        return (vmap(draws, randomness="different")(loc),)

    return Recorded(function, [torch.zeros(count, *shape)])


def test_a_recorded_function_draws_anew_and_apart_for_each_member():
    torch.manual_seed(0)
    recorded, loc = noise_of((1000,), 3), torch.tensor([[0.0], [1.0], [2.0]]).expand(3, 1000)
    draws = torch.stack([recorded(loc)[0] for _ in range(4)]) - loc
    flat = draws.flatten(0, 1)
    correlation = torch.corrcoef(flat)
    # Five standard errors of a correlation, a mean and a variance of 1000 numbers.
    assert (correlation - torch.eye(12)).abs().max() < 5 / 1000**0.5
    assert flat.mean(1).abs().max() < 5 / 1000**0.5
    assert (flat.var(1) - 1).abs().max() < 5 * (2 / 1000) ** 0.5


def test_recording_draws_nothing_and_runs_follow_the_seed():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    recorded = noise_of((5,), 2)
    assert torch.equal(torch.get_rng_state(), state)
    first = recorded(torch.zeros(2, 5))[0]
    torch.manual_seed(3)
    assert torch.equal(recorded(torch.zeros(2, 5))[0], first)


def test_parameters_stay_out_of_the_store_and_data_can_be_mapped():
    def program(x):
        with functional_programs():
            value = pyro.param("p", lambda: torch.ones(2))
            value = pyro.param("q", x)
            return value.data * 2

    found = vmap(program)(torch.arange(3.0))
    assert torch.equal(found, 2 * torch.arange(3.0))
    assert not list(pyro.get_param_store().keys())


def test_what_torchscript_does_not_know_runs_as_a_graph(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("unsupported")

    monkeypatch.setattr(torch.jit, "trace", broken)
    recorded = Recorded(lambda x: (x.sin() * 2,), [torch.zeros(3)])
    torch.testing.assert_close(recorded(torch.ones(3))[0], 2 * torch.ones(3).sin())
