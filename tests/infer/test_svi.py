"""Pyro's own SVI against the native engine, over every model."""

from dataclasses import replace

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO

from pyro_ssl.data import SSLData
from pyro_ssl.elbos import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError, NonFiniteError
from pyro_ssl.infer import Anneal, FitConfig, fit, load_checkpoint, load_model
from pyro_ssl.infer.svi import pyro_elbo
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.likelihoods import Conditional, Gaussian
from pyro_ssl.models import M1M2, M2, VAE, BernoulliVAE, SSLModel
from tests.infer.problems import blobs, small_m2
from tests.infer.test_fit import StopError, same_weights, without_seconds
from tests.models.test_base import MODELS, SIZES

# The table's models, and those whose options make another program of them.
VARIANTS = {
    "M2, batch norm and dropout": lambda: M2(batch_norm=True, input_dropout=0.3, **SIZES),
    "M2, covariates": lambda: M2(
        likelihood=Conditional(Gaussian(), (Gaussian(),)), **SIZES | {"input_shape": (4,)}
    ),
    "M1M2, both layers": lambda: M1M2(
        m1={"input_shape": (1, 2, 3), "latent_dim": 3, "hidden_dims": (5,), "batch_norm": True},
        num_classes=4,
        train_m1=True,
        latent_dim=2,
        hidden_dims=(5,),
    ),
    "VAE, batch norm": lambda: VAE((1, 2, 3), latent_dim=2, hidden_dims=(5,), batch_norm=True),
    "BernoulliVAE, straight through": lambda: BernoulliVAE(
        6, num_bits=3, estimator="straight_through"
    ),
    "BernoulliVAE, score function": lambda: BernoulliVAE(6, num_bits=3, estimator="score_function"),
}
ALL = MODELS | VARIANTS
# Twenty steps, five an epoch.
CONFIG = FitConfig(
    epochs=4,
    batch_size=10,
    labelled_batch_size=6,
    steps_per_epoch=5,
    learning_rate=0.01,
    learning_rate_schedule="cosine",
    max_gradient_norm=3.0,
    l2=1e-3,
    keep_best=False,
    compile="never",
)


def data_for(model, dtype=torch.float64):
    """Rows that the model takes: pixels, positive numbers or scales; labels if it classifies."""
    generator = torch.Generator().manual_seed(0)
    shape = (60, *model.input_shape)
    xs = torch.rand(shape, generator=generator, dtype=dtype).round().clamp(min=0.1)
    if model.real_labels:
        ys = torch.linspace(-1, 1, 60, dtype=dtype)
        kinds = {"real_valued": True, "real_labels": True}
        return SSLData(xs[:12], ys[:12], xs[12:], 1, xs[40:], ys[40:], **kinds)
    if not isinstance(model, SSLModel):
        return SSLData.unlabelled(xs, xs[:20], model.takes_real_values)
    classes = model.num_classes
    ys = torch.arange(60) % classes
    if model.multi_label:
        ys = (ys[:, None] >> torch.arange(classes)) & 1
    real = model.takes_real_values
    return SSLData(xs[:12], ys[:12], xs[12:], classes, xs[40:], ys[40:], real_valued=real)


def trained(name, **change):
    torch.manual_seed(0)
    model = ALL[name]().double()
    config = replace(CONFIG, binarise=model.takes_pixels, **change)
    history = fit(model, data_for(model), config)
    return model, history


@pytest.mark.filterwarnings("ignore:.*was not registered in the param store")
@pytest.mark.filterwarnings("ignore:divergences.*factorised")
@pytest.mark.parametrize("name", ALL)
def test_svi_trains_every_model_to_the_weights_of_the_native_engine(name):
    native, whole = trained(name)
    svi, history = trained(name, engine="svi")
    assert (whole.execution, history.execution) == ("eager", "SVI")
    state, other = native.state_dict(), svi.state_dict()
    torch.manual_seed(0)
    start = ALL[name]().double().state_dict()
    assert max((state[k] - start[k]).abs().max() for k in start) > 1e-3
    difference = max((state[k] - other[k]).abs().max().item() for k in state)
    print(f"{name}: {difference:.1e}")
    assert difference < 1e-8
    assert list(whole.rows[0]) == list(history.rows[0])
    for ours, reference in zip(whole.rows, history.rows, strict=True):
        ours["seconds"] = reference["seconds"]
        assert ours == pytest.approx(reference, rel=1e-6, abs=1e-8)


def test_annealed_weights_and_options_are_those_of_the_native_engine():
    anneal = {"kl_z": Anneal(0.1, 1.0, 12), "temperature": Anneal(1.0, 0.5, 9)}
    weights = {"classification": 0.3, "kl_y": 0.5}
    native, _ = trained("GumbelSoftmaxM2", anneal=anneal, term_weights=weights)
    svi, _ = trained("GumbelSoftmaxM2", anneal=anneal, term_weights=weights, engine="svi")
    pairs = zip(native.parameters(), svi.parameters(), strict=True)
    assert max((a - b).abs().max() for a, b in pairs) < 1e-8
    plain, _ = trained("GumbelSoftmaxM2", engine="svi")
    assert not same_weights(svi, plain)


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop"])
def test_a_resumed_svi_run_is_bit_identical_to_one_never_stopped(tmp_path, optimiser):
    config = FitConfig(
        epochs=5,
        batch_size=36,
        learning_rate=0.01,
        learning_rate_schedule="cosine",
        optimiser=optimiser,
        max_gradient_norm=1.0,
        anneal={"kl_z": Anneal(0.0, 1.0, 11)},
        keep_best=False,
        engine="svi",
    )
    options = {"batch_norm": True, "input_dropout": 0.2}
    whole, resumed, path = small_m2(**options), small_m2(seed=9, **options), tmp_path / "run.pt"
    rows, steps = fit(whole, blobs(), config).rows, iter(range(100))

    def stop(progress):
        if next(steps) == 7:
            raise StopError

    with pytest.raises(StopError):
        fit(small_m2(**options), blobs(), config, checkpoint=path, on_step=stop)
    assert load_checkpoint(path)["epoch"] == 2
    # A resume that is stopped before its first step must not forget what the optimiser knew.
    with pytest.raises(StopError):
        fit(small_m2(**options), blobs(), config, path, resume=True, on_step=raises_at_once)
    rest = fit(resumed, blobs(), config, checkpoint=path, resume=True).rows
    assert same_weights(whole, resumed)
    assert without_seconds(rest) == without_seconds(rows)
    assert same_weights(load_model(path), whole)
    # No name of the parameter store, which counts instances, is in the file.
    assert set(load_checkpoint(path)["optimiser"]) == {n for n, _ in whole.named_parameters()}


def raises_at_once(progress):
    raise StopError


def test_pyros_own_elbo_stands_in_where_it_has_one():
    def chosen(name):
        model = ALL[name]()
        config = replace(CONFIG, binarise=model.takes_pixels)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            trainer = Trainer(model, data_for(model, torch.float32), config)
            return type(pyro_elbo(trainer.objective, trainer.batches.draw()))

    for name in (
        "M2",
        "ADGM",
        "SDGM",
        "GumbelSoftmaxM2",
        "LatentM2",
        "MLPClassifier",
        "BitMixture",
        "M1M2",
    ):
        assert chosen(name) is TraceEnum_ELBO
    for name in ("VAE", "Autoencoder", "GeneratorVAE", "LogGamma", "LogisticNormal"):
        assert chosen(name) is TraceMeanField_ELBO
    for name in ("CCVAE", "RaoBlackwellM2", "LeaveOneOutM2", "ApproxM2", "BernoulliVAE"):
        assert chosen(name) is type(ALL[name]().make_elbo())


def test_the_sites_of_steps_that_fail_are_named():
    model, trigger = small_m2(), {"on": False}
    model.decoder.register_forward_hook(
        lambda module, inputs, output: output * (float("nan") if trigger["on"] else 1.0)
    )

    def poison(progress):
        # The second step of the second epoch is the last good one, until a replay.
        trigger["on"] = trigger["on"] or progress.step == 5

    config = FitConfig(epochs=4, batch_size=36, engine="svi")
    with pytest.raises(NonFiniteError) as caught, pytest.warns(UserWarning, match="NaN"):
        fit(model, blobs(), config, on_step=poison)
    assert (caught.value.epoch, caught.value.site) == (1, "labelled/x")


class WithElbo(VAE):
    """A user's model, trained with any of Pyro's ELBOs."""

    elbo = staticmethod(Trace_ELBO)

    def make_elbo(self):
        return self.elbo()


@pytest.mark.parametrize(
    "elbo",
    [
        Trace_ELBO,
        TraceMeanField_ELBO,
        lambda: Trace_ELBO(num_particles=3),
        lambda: TraceMeanField_ELBO(num_particles=3),
        lambda: TraceEnum_ELBO(max_plate_nesting=1, num_particles=2),
        lambda: TraceEnum_ELBO(max_plate_nesting=1, num_particles=3, vectorize_particles=True),
        lambda: StaticEnum_ELBO(num_particles=3),
        lambda: StaticEnum_ELBO(closed_form_kl=True, num_particles=3),
    ],
)
def test_a_model_may_return_any_of_pyros_elbos(elbo, monkeypatch):
    monkeypatch.setattr(WithElbo, "elbo", staticmethod(elbo))
    found = []
    for engine in ("native", "svi"):
        torch.manual_seed(0)
        model = WithElbo((1, 2, 3), latent_dim=2, hidden_dims=(5,)).double()
        rows = fit(model, data_for(model), replace(CONFIG, engine=engine, l2=0.0)).rows
        found.append((model, rows))
        for row in rows:
            assert row["loss"] == pytest.approx(-row["unlabelled_elbo"], rel=1e-6)
            kl = row["unlabelled_log_prob_x"] - row["unlabelled_elbo"]
            assert row["unlabelled_kl_z"] == pytest.approx(kl, rel=1e-6)
    pairs = zip(found[0][0].parameters(), found[1][0].parameters(), strict=True)
    assert max((a - b).abs().max() for a, b in pairs) < 1e-8


def test_svi_is_not_compiled():
    with pytest.raises(ConfigError, match='engine="svi" is never compiled'):
        FitConfig(engine="svi", compile="always")
    assert not FitConfig(engine="svi", epochs=10**9).compiles(100)
