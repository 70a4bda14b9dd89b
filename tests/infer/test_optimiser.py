"""Optimiser, step size, cap and penalty: each against its formula."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import FitConfig, Objective, fit, load_checkpoint, save_checkpoint
from pyro_ssl.infer.penalty import Penalty
from tests import oracle
from tests.infer.problems import STEADY, blobs, small_m2
from tests.infer.test_fit import same_weights, without_seconds
from tests.infer.test_objective import batch_of

# Three steps an epoch.
CONFIG = FitConfig(epochs=4, batch_size=36, learning_rate=0.01, keep_best=False, **STEADY)
ONE_STEP = replace(CONFIG, epochs=1, steps_per_epoch=1)


def gradients_seen(monkeypatch, optimiser=torch.optim.Adam):
    """All gradients at every step of an optimiser, which moves on."""
    seen, step = [], optimiser.step

    def spy(self, *args, **kwargs):
        gradients = [p.grad.flatten() for g in self.param_groups for p in g["params"]]
        seen.append(torch.cat(gradients).clone())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(optimiser, "step", spy)
    return seen


def vector(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.usefixtures("as_recorded")
@pytest.mark.parametrize("compiled", ["never", "always"])
def test_gradients_above_the_cap_are_shrunk_to_it_and_others_are_not(
    monkeypatch, compiled, as_recorded
):
    seen = gradients_seen(monkeypatch)
    config = replace(ONE_STEP, compile=compiled)
    (row,) = fit(small_m2(), blobs(), config).rows
    norm = row["gradient_norm"]
    for cap in (0.25 * norm, 2 * norm):
        (capped,) = fit(small_m2(), blobs(), replace(config, max_gradient_norm=cap)).rows
        # Reported is the norm before.
        assert capped["gradient_norm"] == norm
    free, shrunk, untouched = seen
    assert free.norm().item() == pytest.approx(norm, rel=1e-5)
    torch.testing.assert_close(shrunk, 0.25 * free, rtol=1e-4, atol=1e-8)
    assert torch.equal(untouched, free)


def test_rmsprop_takes_its_step(monkeypatch):
    seen = gradients_seen(monkeypatch, torch.optim.RMSprop)
    model, before = small_m2(), vector(small_m2())
    fit(model, blobs(), replace(ONE_STEP, optimiser="rmsprop", steps_per_epoch=2))
    first, second = seen
    squares = 0.01 * first**2
    by_hand = before - 0.01 * first / (squares.sqrt() + 1e-8)
    squares = 0.99 * squares + 0.01 * second**2
    by_hand -= 0.01 * second / (squares.sqrt() + 1e-8)
    torch.testing.assert_close(vector(model), by_hand)


class StopError(Exception):
    pass


def test_resumed_run_with_every_option_is_bit_identical(tmp_path):
    config = replace(
        CONFIG,
        epochs=6,
        optimiser="rmsprop",
        learning_rate_schedule="step",
        learning_rate_decay_epochs=2,
        max_gradient_norm=0.5,
        l1=1e-3,
        l2=1e-3,
    )
    whole, resumed, path = small_m2(), small_m2(seed=9), tmp_path / "run.pt"
    rows, steps = fit(whole, blobs(), config).rows, iter(range(100))

    def stop(progress):
        if next(steps) == 7:
            raise StopError

    # More epochs than were asked for at first: the rate does not depend on them.
    with pytest.raises(StopError):
        fit(small_m2(), blobs(), replace(config, epochs=3), checkpoint=path, on_step=stop)
    rest = fit(resumed, blobs(), config, checkpoint=path, resume=True).rows
    assert same_weights(whole, resumed)
    assert without_seconds(rest) == without_seconds(rows)
    with pytest.raises(CheckpointError, match=r"optimiser \(rmsprop then, adam now\)"):
        fit(small_m2(), blobs(), replace(config, optimiser="adam"), path, resume=True)


def test_step_size_rises_before_it_follows_its_schedule():
    flat, step, cosine = (
        FitConfig(epochs=6, learning_rate=1.0, learning_rate_warmup=3, **options)
        for options in (
            {"learning_rate_schedule": "constant"},
            {"learning_rate_schedule": "step", "learning_rate_decay_epochs": 4},
            {"learning_rate_schedule": "cosine"},
        )
    )
    rates = [[how.learning_rate_at(epoch) for epoch in range(6)] for how in (flat, step, cosine)]
    assert rates[0] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rates[1] == [0.25, 0.5, 0.75, 1, 0.75, 0.75]
    half = [0.5 + 0.5 * math.cos(math.pi * epoch / 6) for epoch in range(6)]
    assert rates[2] == pytest.approx([r * h for r, h in zip(rates[0], half, strict=True)])
    with pytest.raises(ConfigError, match="learning_rate_warmup is 0"):
        FitConfig(learning_rate_warmup=0)


def test_more_epochs_of_a_cosine_are_another_run(tmp_path):
    config = replace(CONFIG, learning_rate_schedule="cosine")
    fit(small_m2(), blobs(), config, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="another epochs"):
        fit(small_m2(), blobs(), replace(config, epochs=9), tmp_path / "run.pt", resume=True)


def test_step_schedule():
    config = FitConfig(learning_rate=0.1, learning_rate_schedule="step")
    assert config.learning_rate_at(199) == 0.1
    assert config.learning_rate_at(200) == pytest.approx(0.075)
    config = replace(config, learning_rate_decay=0.5, learning_rate_decay_epochs=3)
    rates = [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]
    assert [config.learning_rate_at(epoch) for epoch in range(7)] == pytest.approx(rates)


def test_checkpoints_older_than_an_option_had_its_default(tmp_path):
    path, whole, resumed = tmp_path / "run.pt", small_m2(), small_m2(seed=9)
    fit(whole, blobs(), CONFIG)
    fit(small_m2(), blobs(), replace(CONFIG, epochs=2), checkpoint=path)
    state = load_checkpoint(path)
    young = ("optimiser", "anneal", "l1", "penalised", "max_gradient_norm", "validation_bound")
    for name in young:
        del state["config"][name]
    del state["format"], state["model_options"]["input_dropout"]
    save_checkpoint(state, path)
    with pytest.raises(CheckpointError, match=r"l1 \(0.0 then, 0.1 now\)"):
        fit(small_m2(), blobs(), replace(CONFIG, l1=0.1), checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match=r"input_dropout \(0.0 then, 0.2 now\)"):
        fit(small_m2(input_dropout=0.2), blobs(), CONFIG, checkpoint=path, resume=True)
    fit(resumed, blobs(), CONFIG, checkpoint=path, resume=True)
    assert same_weights(whole, resumed)


def test_penalty_is_added_with_its_gradient():
    model = small_m2().double()
    plain = Objective(model, 12, 108)
    penalised = Objective(model, 12, 108, penalty=Penalty(model, 0.3, 0.2, r"(en|de)coder.*weight"))
    found = []
    for objective in (plain, penalised):
        torch.manual_seed(2)
        loss, terms = objective(batch_of(blobs()))
        found.append((loss, terms, oracle.gradients(loss, model)))
    weights = {
        n: p.detach()
        for n, p in model.named_parameters()
        if not n.startswith("classifier") and n.endswith("weight")
    }
    # Two layers in each network, and its label's embedding.
    assert len(weights) == 6
    by_hand = sum(0.3 * w.abs().sum() + 0.2 * (w * w).sum() for w in weights.values())
    torch.testing.assert_close(found[1][0] - found[0][0], by_hand)
    torch.testing.assert_close(found[1][1]["penalty"], by_hand)
    assert not found[1][1]["penalty"].requires_grad
    assert "penalty" not in found[0][1]
    for name, gradient in found[0][2].items():
        if name in weights:
            w = weights[name]
            gradient = gradient + 0.3 * w.sign() + 0.4 * w
        torch.testing.assert_close(found[1][2][name], gradient)


@pytest.mark.filterwarnings("ignore:.*was not registered in the param store")
@pytest.mark.usefixtures("as_recorded")
@pytest.mark.parametrize("compiled", ["never", "always"])
def test_fit_reports_the_penalty_of_trained_weights_and_lowers_it(compiled):
    model = small_m2()
    model.decoder.requires_grad_(False)
    trained = [p for n, p in model.named_parameters() if p.requires_grad and "weight" in n]
    before = sum((w * w).sum() for w in trained).item()
    # So heavy that it outweighs the bound.
    config = replace(ONE_STEP, epochs=30, steps_per_epoch=3, l2=10.0, compile=compiled)
    history = fit(model, blobs(), replace(config, epochs=1, steps_per_epoch=1))
    assert history.execution.startswith("compiled" if compiled == "always" else "eager")
    assert history.rows[0]["penalty"] == pytest.approx(10 * before, rel=1e-5)
    rows = fit(model, blobs(), config).rows
    assert rows[-1]["penalty"] < 0.2 * rows[0]["penalty"]
    free = copy.deepcopy(model)
    assert "penalty" not in fit(free, blobs(), ONE_STEP).rows[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimiser": "sgd"}, "optimiser is 'sgd', expected one of adam, rmsprop"),
        ({"learning_rate_decay": 0.0}, "learning_rate_decay is 0"),
        ({"learning_rate_decay_epochs": 0}, "learning_rate_decay_epochs is 0"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm is -1"),
        ({"l1": -0.1}, "l1 is -0.1"),
        ({"l2": float("inf")}, "l2 is inf"),
        ({"penalised": "(weight"}, r"penalised is '\(weight', expected a regular expression"),
        ({"l1": 0.1, "penalised": "weight"}, "matches no parameter in training: .*classifier"),
    ],
)
def test_configurations_that_cannot_work_are_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        fit(small_m2(), blobs(), replace(CONFIG, **change))
