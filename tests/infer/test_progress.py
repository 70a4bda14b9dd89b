"""Callbacks: what they are told, and how they stop a run."""

import gc
import weakref
from dataclasses import replace

import pyro
import pytest

from pyro_ssl.infer import FitConfig, fit, load_checkpoint
from pyro_ssl.infer.trainer import Trainer
from tests.infer.problems import STEADY, blobs, small_m2
from tests.infer.test_fit import same_weights, without_seconds

# Three steps an epoch.
CONFIG = FitConfig(epochs=6, batch_size=36, learning_rate=0.01, keep_best=False, **STEADY)


def test_callbacks_are_told_how_far_the_run_has_come():
    model, epochs, steps = small_m2(), [], []
    history = fit(
        model,
        blobs(),
        replace(CONFIG, epochs=2),
        on_epoch=lambda p: epochs.append((p.epoch, p.step, len(p.rows), p.model is model)),
        on_step=lambda p: steps.append((p.epoch, p.step, len(p.rows))),
    )
    assert epochs == [(1, 3, 1, True), (2, 6, 2, True)]
    assert steps == [(0, 1, 0), (0, 2, 0), (0, 3, 0), (1, 4, 1), (1, 5, 1), (1, 6, 1)]
    assert history.termination == "all epochs"


@pytest.mark.parametrize("engine", ["native", "svi"])
@pytest.mark.parametrize("where", ["on_epoch", "on_step"])
def test_a_callback_stops_the_run_after_the_epoch_and_it_can_be_resumed(tmp_path, where, engine):
    def stop(progress):
        if progress.step > 4:
            progress.stop()

    path, config = tmp_path / "run.pt", replace(CONFIG, engine=engine)
    whole, model = small_m2(), small_m2()
    rows = fit(whole, blobs(), config).rows
    history = fit(model, blobs(), config, checkpoint=path, **{where: stop})
    assert history.termination == "callback"
    assert without_seconds(history.rows) == without_seconds(rows[:2])
    assert load_checkpoint(path)["epoch"] == 2
    # The next run goes on where this one was stopped, and counts on.
    steps = []
    again = fit(model, blobs(), config, path, resume=True, on_step=lambda p: steps.append(p.step))
    assert again.termination == "all epochs"
    assert steps == list(range(7, 19))
    assert same_weights(model, whole)


@pytest.mark.parametrize("engine", ["native", "svi"])
def test_a_trainer_is_gone_when_nobody_holds_it(engine):
    # A cycle would keep the optimiser, the best weights and a CUDA graph's memory until the
    # garbage collector comes by.
    gc.collect()
    gc.disable()
    try:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            trainer = Trainer(small_m2(), blobs(), replace(CONFIG, engine=engine))
            trainer.run_epoch()
            trainer.load_state(trainer.state())
            trainer.run_epoch()
            gone = [weakref.ref(held) for held in (trainer, trainer.engine, trainer.objective)]
            del trainer
        assert [ref() for ref in gone] == [None] * 3
    finally:
        gc.enable()
