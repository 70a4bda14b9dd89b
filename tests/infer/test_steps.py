"""The length of a run in steps."""

import math
from dataclasses import replace

import pytest
import torch

from pyro_ssl.errors import CheckpointError, ConfigError, NonFiniteError
from pyro_ssl.infer import Anneal, FitConfig, fit, load_checkpoint
from pyro_ssl.infer.config import COMPILE_PAYS_AFTER
from tests.infer.problems import STEADY, blobs, small_m2
from tests.infer.test_fit import StopError, same_weights, without_seconds

# Three steps make one pass over the 108 unlabelled rows.
CONFIG = FitConfig(batch_size=36, learning_rate=0.01, keep_best=False, **STEADY)


def steps_and_rows(config, monkeypatch):
    """The step size of each step of the optimiser, and the history."""
    rates, step = [], torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    history = fit(small_m2(), blobs(), config)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    return rates, history.rows


@pytest.mark.parametrize(
    ("steps", "per_epoch", "epochs"),
    [(1, None, 1), (3, None, 1), (7, None, 3), (9, None, 3), (7, 2, 4), (4, 10, 1), (10, 5, 2)],
)
def test_a_run_makes_just_so_many_steps(steps, per_epoch, epochs, monkeypatch):
    config = replace(CONFIG, steps=steps, steps_per_epoch=per_epoch)
    rates, rows = steps_and_rows(config, monkeypatch)
    assert len(rates) == steps
    assert [row["epoch"] for row in rows] == list(range(epochs))


def test_whole_epochs_are_the_run_that_epochs_give_and_a_cut_one_its_first_steps():
    runs = {}
    for name, length in (("steps", {"steps": 9}), ("epochs", {"epochs": 3}), ("cut", {"steps": 7})):
        model = small_m2(input_dropout=0.2)
        config = replace(CONFIG, learning_rate_schedule="cosine", **length)
        runs[name] = model, fit(model, blobs(), config).rows
    assert same_weights(runs["steps"][0], runs["epochs"][0])
    assert without_seconds(runs["steps"][1]) == without_seconds(runs["epochs"][1])
    assert not same_weights(runs["steps"][0], runs["cut"][0])


def test_the_mean_of_a_cut_epoch_is_over_the_steps_it_made():
    seen = []
    config = replace(CONFIG, steps=4, learning_rate=1e-30, binarise=False)
    rows = fit(small_m2(), blobs(), config, on_step=lambda p: seen.append(p.step)).rows
    assert seen == [1, 2, 3, 4]
    # The weights stand still: the loss of a single step is as large as that of the mean of three.
    assert rows[1]["loss"] == pytest.approx(rows[0]["loss"], rel=0.05)
    assert rows[1]["gradient_norm"] == pytest.approx(rows[0]["gradient_norm"], rel=0.5)


def test_schedule_and_annealing_refer_to_all_steps(monkeypatch):
    config = replace(CONFIG, steps=10, steps_per_epoch=4, learning_rate_schedule="cosine")
    rates, _ = steps_and_rows(config, monkeypatch)
    halves = [0.5 * (1 + math.cos(math.pi * done / 10)) for done in (0, 4, 8)]
    assert rates == pytest.approx([0.01 * h for h in halves for _ in range(4)][:10])
    resolved = FitConfig(steps=100, batch_size=36).resolved(small_m2(), blobs())
    assert resolved.anneal == {"kl_z": Anneal(3.0, 1.0, 30)}
    assert (resolved.epochs, resolved.steps, resolved.steps_per_epoch) == (34, 100, 3)
    assert resolved.resolved(small_m2(), blobs()) == resolved
    with pytest.raises(ConfigError, match=r"steps is 100, .* resolved\(model, data\)"):
        FitConfig(steps=100).learning_rate_at(0)


def test_compiling_depends_on_the_steps():
    assert not FitConfig(steps=COMPILE_PAYS_AFTER - 1).compiles(100)
    assert FitConfig(steps=COMPILE_PAYS_AFTER).compiles(100)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "steps is 0, expected a whole number, at least 1"),
        ({"steps": 9, "epochs": 3}, "epochs is 3 and steps is 9, .* give one of them"),
        ({"steps": 9, "epochs": 3, "steps_per_epoch": 2}, "give one of them"),
    ],
)
def test_two_lengths_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        FitConfig(**options)
    assert FitConfig(steps=9, epochs=5, steps_per_epoch=2).steps == 9


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("stop_after", [4, 7])
def test_resumed_run_of_steps_ends_bit_identical_to_one_never_stopped(
    tmp_path, schedule, stop_after
):
    options = {"batch_norm": True, "input_dropout": 0.2}
    anneal = {"kl_z": Anneal(3.0, 1.0, 6)}
    config = replace(CONFIG, steps=8, learning_rate_schedule=schedule, anneal=anneal)
    whole, path = small_m2(**options), tmp_path / "run.pt"
    rows = fit(whole, blobs(), config).rows

    def stop(progress):
        if progress.step == stop_after:
            raise StopError

    with pytest.raises(StopError):
        fit(small_m2(**options), blobs(), config, checkpoint=path, on_step=stop)
    assert load_checkpoint(path)["epoch"] == stop_after // 3
    resumed, seen = small_m2(seed=9, **options), []
    history = fit(
        resumed, blobs(), config, path, resume=True, on_step=lambda p: seen.append(p.step)
    )
    assert seen == list(range(stop_after // 3 * 3 + 1, 9))
    assert same_weights(resumed, whole)
    assert without_seconds(history.rows) == without_seconds(rows)
    # What is finished makes no further step, and knows how many it made.
    again = fit(small_m2(**options), blobs(), config, path, resume=True, on_step=seen.append)
    assert without_seconds(again.rows) == without_seconds(rows)
    assert seen[-1] == 8


def test_more_steps_continue_a_run_of_whole_epochs_and_no_other(tmp_path):
    whole, parted = small_m2(), small_m2()
    fit(whole, blobs(), replace(CONFIG, steps=8))
    path = tmp_path / "whole.pt"
    fit(parted, blobs(), replace(CONFIG, steps=6), checkpoint=path)
    fit(parted, blobs(), replace(CONFIG, steps=8), checkpoint=path, resume=True)
    assert same_weights(whole, parted)
    with pytest.raises(CheckpointError, match=r"steps \(8 then, 12 now\)"):
        fit(parted, blobs(), replace(CONFIG, steps=12), checkpoint=path, resume=True)


def test_a_checkpoint_from_before_there_were_steps_resumes(tmp_path):
    path = tmp_path / "run.pt"
    fit(small_m2(), blobs(), replace(CONFIG, epochs=1), checkpoint=path)
    state = torch.load(path, weights_only=True)
    assert state["config"].pop("steps") is None
    torch.save(state | {"format": "pyro_ssl checkpoint 4"}, path)
    resumed, whole = small_m2(), small_m2()
    fit(resumed, blobs(), replace(CONFIG, steps=5), checkpoint=path, resume=True)
    fit(whole, blobs(), replace(CONFIG, steps=5))
    assert same_weights(resumed, whole)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_loss_that_is_not_finite_is_found_in_a_cut_epoch():
    model = small_m2()

    # Of the second epoch only one step is left.
    def arm(progress):
        if progress.epoch == 1:
            model.decoder.register_forward_hook(lambda m, i, output: output * float("nan"))

    with pytest.raises(NonFiniteError) as caught:
        fit(model, blobs(), replace(CONFIG, steps=4), on_epoch=arm)
    assert (caught.value.epoch, caught.value.step) == (1, 0)
