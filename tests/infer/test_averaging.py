from dataclasses import replace

import pytest
import torch

from pyro_ssl import SDGM, Augmentation, Consistency
from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import FitConfig, fit, load_checkpoint
from pyro_ssl.infer.averaging import WeightAverage
from tests.infer.problems import blobs, small_m2
from tests.infer.test_fit import StopError, same_weights, without_seconds

CONFIG = FitConfig(
    epochs=4,
    batch_size=36,
    learning_rate=0.01,
    anneal={},
    weight_average=0.8,
    keep_best=False,
    augmentation=Augmentation(rotation=10, translation=0.1),
    consistency=Consistency(Augmentation(rotation=20), 1.5, threshold=0.4),
)
NORMED = {"batch_norm": "separate", "input_dropout": 0.2}


def after_each_step(config, model):
    """The weights after each step, those that each epoch's callback sees, and the history."""
    steps, epochs = [], []

    def state(progress):
        return {k: v.clone() for k, v in progress.model.state_dict().items()}

    history = fit(
        model,
        blobs(),
        config,
        on_step=lambda p: steps.append(state(p)),
        on_epoch=lambda p: epochs.append(state(p)),
    )
    return steps, epochs, history


def averaged(state):
    """Names of all but batch norm's statistics."""
    return [k for k in state if "running" not in k and "tracked" not in k]


def test_the_average_is_that_of_the_weights_after_each_step_and_changes_no_step():
    first = small_m2(**NORMED).state_dict()
    model, plain = small_m2(**NORMED), small_m2(**NORMED)
    steps, epochs, history = after_each_step(CONFIG, model)
    without, _, other = after_each_step(replace(CONFIG, weight_average=None), plain)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(steps, without, strict=True) for k in a)
    average = {k: v.clone() for k, v in first.items()}
    a_epoch = len(steps) // 4
    for number, weights in enumerate(steps):
        decay = min(0.8, (1 + number) / (10 + number))
        for k, v in weights.items():
            if v.is_floating_point():
                average[k] = decay * average[k] + (1 - decay) * v
            else:
                average[k] = v
        if number % a_epoch == a_epoch - 1:
            seen = epochs[number // a_epoch]
            assert all(torch.allclose(seen[k], average[k], atol=1e-6) for k in averaged(seen))
    weights = model.state_dict()
    assert all(torch.allclose(weights[k], average[k], atol=1e-6) for k in averaged(weights))
    assert not same_weights(model, plain)
    # Validation is of the average: rows of training are the same, those of validation are not.
    for one, two in zip(history.rows, other.rows, strict=True):
        assert one["loss"] == two["loss"]
    ece = [[row["validation_ece"] for row in rows.rows] for rows in (history, other)]
    assert ece[0] != ece[1]


def test_statistics_of_batch_norm_are_those_of_the_average_for_unlabelled_rows():
    model = small_m2(**NORMED)
    after_each_step(CONFIG, model)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    seen = []
    hook = norms[0].register_forward_pre_hook(lambda norm, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.class_logits(blobs().unlabelled_xs)
    hook.remove()
    assert len(norms) == 1
    # Neither augmented, nor with dropout, and unbiased.
    for found, expected in (
        (norms[0].running_mean, seen[0].mean(0)),
        (norms[0].running_var, seen[0].var(0)),
    ):
        torch.testing.assert_close(found, expected)
    assert norms[0].momentum == 0.1


def test_statistics_of_many_rows_are_those_of_equal_batches_without_new_noise():
    torch.manual_seed(0)
    xs = torch.rand(1203, 1, 4, 4)
    data = replace(blobs(), unlabelled_xs=(255 * xs).byte())
    model = small_m2(**NORMED)
    average, before = WeightAverage(model, 0.9, data), torch.get_rng_state()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with average.in_place():
        norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d))
        assert norm.num_batches_tracked == 3
        assert not torch.equal(norm.running_mean, state[f"classifier.{_mean(model)}"])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    # A part that is frozen keeps what it has, and so does everything without data.
    for kept in (
        WeightAverage(model, 0.9, data, [model.classifier]),
        WeightAverage(model, 0.9),
        WeightAverage(model, None, data),
    ):
        with kept.in_place():
            assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_statistics_are_computed_once_for_an_average(monkeypatch):
    model = small_m2(**NORMED)
    average, passes = WeightAverage(model, 0.9, blobs()), []
    logits = type(model).class_logits
    monkeypatch.setattr(
        type(model), "class_logits", lambda self, xs: passes.append(len(xs)) or logits(self, xs)
    )
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d))
    found = []
    for _ in range(2):
        with average.in_place():
            found.append(norm.running_mean.clone())
    assert len(passes) == 1
    assert torch.equal(*found)
    # Another average has others.
    for moves in (
        lambda: average.update(100),
        lambda: average.load_state_dict(average.state_dict()),
    ):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1.0)
        before = len(passes)
        moves()
        with average.in_place():
            found.append(norm.running_mean.clone())
        assert len(passes) == before + 1
    assert not torch.equal(found[0], found[2])


def test_networks_beside_the_classifier_have_the_average_of_their_statistics():
    torch.manual_seed(0)
    sizes = {"latent_dim": 2, "auxiliary_dim": 2, "hidden_dims": (5,), "num_points": 3}
    model = SDGM((1, 4, 4), 3, batch_norm="separate", **sizes)
    fit(model, blobs(), replace(CONFIG, weight_average=None, consistency=None))
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    with WeightAverage(model, 0.9, blobs()).in_place():
        changed = {k for k, v in before.items() if not torch.equal(v, model.state_dict()[k])}
    # q(y|x) is a mean over q(a|x).
    parts = {name.partition(".")[0] for name in before}
    assert {name.partition(".")[0] for name in changed} == {"auxiliary_encoder", "classifier"}
    assert {"encoder", "decoder"} <= parts


def _mean(model):
    return next(k for k in model.classifier.state_dict() if k.endswith("running_mean"))


def test_the_best_epoch_is_the_best_average():
    model = small_m2(**NORMED)
    _, epochs, history = after_each_step(replace(CONFIG, keep_best=True), model)
    best = epochs[history.selected_epoch]
    assert all(torch.equal(v, best[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("how", ["never", "always"])
def test_a_resumed_run_has_the_same_average(tmp_path, how, compiled_once):
    config = replace(CONFIG, compile=how)
    whole, resumed, path = small_m2(**NORMED), small_m2(seed=5, **NORMED), tmp_path / "run.pt"
    history = fit(whole, blobs(), config)

    def stop(progress):
        if progress.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(small_m2(**NORMED), blobs(), config, path, on_step=stop)
    rows = fit(resumed, blobs(), config, path, resume=True).rows
    assert same_weights(whole, resumed)
    assert without_seconds(rows) == without_seconds(history.rows)


def test_a_checkpoint_of_another_average_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    fit(small_m2(), blobs(), CONFIG, path)
    for change, words in (
        ({"weight_average": 0.9}, "weight_average"),
        ({"weight_average": None}, "weight_average"),
        ({"augmentation": None}, "augmentation"),
        ({"consistency": replace(CONFIG.consistency, weight=1.0)}, "consistency"),
    ):
        with pytest.raises(CheckpointError, match=words):
            fit(small_m2(), blobs(), replace(CONFIG, **change), path, resume=True)
    state = load_checkpoint(path)
    average = WeightAverage(small_m2(), 0.8)
    average.load_state_dict(state["average"])
    for damaged in ({}, {**state["average"], "more": torch.zeros(1)}, dict.fromkeys("ab", 1)):
        with pytest.raises(CheckpointError, match="average"):
            average.load_state_dict(damaged)


def test_a_decay_that_cannot_be_one_is_named():
    for decay in (1.0, -0.1, "most"):
        with pytest.raises(ConfigError, match="weight_average is"):
            FitConfig(weight_average=decay)
