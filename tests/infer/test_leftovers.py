"""What is left of a run once it is over, with the garbage collector switched off."""

import gc
import subprocess
import sys
import weakref
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from pyro_ssl.errors import NonFiniteError
from pyro_ssl.infer import FitConfig, ensemble, fit, loop, processes
from pyro_ssl.infer.batches import Share
from pyro_ssl.infer.capture import CapturedStep
from pyro_ssl.infer.ensemble import fit_ensemble
from pyro_ssl.infer.ensemble_step import Step
from pyro_ssl.infer.trainer import Trainer
from tests.infer.cuda_stand_ins import Cuda
from tests.infer.ensembles import config, problem
from tests.infer.problems import STEADY, blobs, small_m2

CONFIG = FitConfig(epochs=2, batch_size=36, learning_rate=0.01, compile="never", **STEADY)
ENGINES = {
    "eager": {},
    "compiled": {"compile": "always"},
    "svi": {"engine": "svi"},
    "rmsprop": {"optimiser": "rmsprop"},
}


class StopError(Exception):
    pass


@pytest.fixture
def made(monkeypatch):
    """Weak references to what a run makes, by name; the collector is off."""
    found = {}

    def watch(name, value):
        found[name] = weakref.ref(value)

    class Watched(Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            watch("trainer", self)
            watch("engine", self.engine)
            watch("objective", self.objective)
            optimiser = "optim" if self.config.engine == "svi" else "optimiser"
            watch("optimiser", getattr(self.engine, optimiser))

        def run_epoch(self, on_step=None):
            row = super().run_epoch(on_step)
            watch("step", self._step)
            if isinstance(self._step, CapturedStep) and self._step.graph is not None:
                watch("graph", self._step.graph)
            return row

        def validate(self):
            if self.best is not None:
                watch("best weights", next(iter(self.best["model"].values())))
            return super().validate()

    class WatchedStep(Step):
        def __init__(self, *args):
            super().__init__(*args)
            watch("step", self)
            watch("optimiser", self.optimiser)
            watch("gradients", self._gradients)

        def __call__(self, rate):
            losses = super().__call__(rate)
            watch("moments", self.optimiser.state[self._weights[0]]["exp_avg"])
            return losses

    monkeypatch.setattr(loop, "Trainer", Watched)
    monkeypatch.setattr(ensemble, "Step", WatchedStep)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


def alive(made):
    return [name for name, ref in made.items() if ref() is not None]


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_a_run_outlives_it(made, engine, as_recorded):
    history = fit(small_m2(), blobs(), replace(CONFIG, **ENGINES[engine]))
    assert {"trainer", "engine", "objective", "optimiser", "best weights"} <= set(made)
    assert alive(made) == []
    assert len(history.rows) == 2


@pytest.mark.parametrize("engine", ["eager", "svi"])
@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_nothing_outlives_a_run_that_was_ended_once_its_error_is_gone(made, engine, error):
    def stop(progress):
        if progress.step == 4:
            raise error

    model = small_m2()
    with pytest.raises(error) as caught:
        fit(model, blobs(), replace(CONFIG, **ENGINES[engine]), on_step=stop)
    assert all(parameter.grad is None for parameter in model.parameters())
    del caught
    assert alive(made) == []


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_nothing_outlives_a_loss_that_was_not_finite(made):
    model = small_m2()
    model.decoder.register_forward_hook(lambda m, i, output: output * float("nan"))
    with pytest.raises(NonFiniteError) as caught:
        fit(model, blobs(), CONFIG)
    assert all(parameter.grad is None for parameter in model.parameters())
    del caught
    assert alive(made) == []


def test_a_graph_ends_with_its_run(made, monkeypatch):
    cuda = Cuda().install(monkeypatch)
    monkeypatch.setattr(Trainer, "_may_capture", lambda self: True)
    # Two steps an epoch: recorded in the second epoch.
    config = replace(CONFIG, steps_per_epoch=2, epochs=3)
    assert fit(small_m2(), blobs(), config).execution == "eager, in a CUDA graph"
    assert "graph" in made
    assert alive(made) == []
    assert cuda.events == ["record", "recorded"] + ["replay"] * 3
    # In so short a run there is no graph, and none is told.
    assert fit(small_m2(), blobs(), replace(config, epochs=1)).execution == "eager"


@pytest.mark.filterwarnings("ignore:the models of an ensemble")
@pytest.mark.parametrize("name", ["M2", "SeparateNormM2"])
@pytest.mark.parametrize("error", [None, StopError, KeyboardInterrupt])
def test_nothing_of_an_ensembles_run_outlives_it(made, name, error):
    models, xs, ys, members = problem(name)
    options = replace(config(), max_steps=4, check_every=2, decay=0.0)

    def stop(steps):
        if error is not None:
            raise error

    with suppress(StopError, KeyboardInterrupt):
        fit_ensemble(models, xs, ys, members, options, on_check=stop)
    assert {"step", "optimiser", "gradients", "moments"} <= set(made)
    assert alive(made) == []
    assert all(p.grad is None for model in models for p in model.parameters())


@pytest.mark.parametrize("engine", ENGINES)
def test_models_come_back_without_gradients_and_what_is_frozen_as_it_was(engine, as_recorded):
    model = small_m2()
    model.decoder.requires_grad_(False)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    fit(model, blobs(), replace(CONFIG, **ENGINES[engine]))
    for name, parameter in model.named_parameters():
        if name.startswith("decoder"):
            assert (parameter.grad == 1).all(), name
        else:
            assert parameter.grad is None, name


def test_the_first_runs_of_a_process_leave_nothing_though_they_import_the_rest_of_torch():
    # These modules catch errors as they start, whose tracebacks are cycles with all frames below.
    program = """
import gc, weakref
from pyro_ssl.infer import loop
from tests.infer.test_leftovers import CONFIG, Trainer, blobs, fit, small_m2
made = []
class Watched(Trainer):
    def __init__(self, *args):
        super().__init__(*args)
        made.append(weakref.ref(self))
loop.Trainer = Watched
def stop(progress):
    raise RuntimeError
gc.disable()
for on_step in (stop, None):
    try:
        fit(small_m2(), blobs(), CONFIG, on_step=on_step)
    except RuntimeError:
        pass
    assert made.pop()() is None, on_step
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_error_that_another_process_tells_is_no_cycle(monkeypatch, made):
    monkeypatch.setattr(processes, "process_share", lambda: Share(0, 2))
    monkeypatch.setattr(processes.distributed, "broadcast_object_list", lambda values, source: None)

    class WatchedError(Exception):
        def __init__(self):
            made["error"] = weakref.ref(self)

    def fail():
        raise WatchedError

    with pytest.raises(WatchedError) as caught:
        processes.run_in_main_process(fail)
    del caught
    assert alive(made) == []
    assert processes.run_in_main_process(lambda: 3) == 3
