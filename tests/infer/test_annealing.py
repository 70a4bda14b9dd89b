from dataclasses import replace

import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch.nn import functional as F

from pyro_ssl.elbos.terms import keeping_traces
from pyro_ssl.errors import CheckpointError, ConfigError, NonFiniteError
from pyro_ssl.infer import (
    Anneal,
    FitConfig,
    Objective,
    RaoBlackwell_ELBO,
    ScoreFunction_ELBO,
    StaticEnum_ELBO,
    fit,
    load_checkpoint,
)
from pyro_ssl.infer.annealing import Annealing
from pyro_ssl.infer.trainer import Trainer
from pyro_ssl.models import M2, MLPClassifier
from tests import oracle
from tests.elbos.test_enumerated import NoLooks
from tests.infer.problems import STEADY, blobs, small_m2, small_vae, unlabelled_blobs
from tests.infer.test_fit import same_weights, without_seconds
from tests.infer.test_objective import batch_of

# Three steps an epoch.
CONFIG = FitConfig(epochs=4, batch_size=36, learning_rate=0.01, keep_best=False, **STEADY)

ELBOS = {
    "static": StaticEnum_ELBO,
    "closed form": lambda: StaticEnum_ELBO(closed_form_kl=True),
    "Rao-Blackwell": lambda: RaoBlackwell_ELBO(1),
    "TraceEnum": lambda: TraceEnum_ELBO(max_plate_nesting=1),
    "TraceGraph": ScoreFunction_ELBO,
}


def constant(value: float) -> Anneal:
    return Anneal(value, value, 1)


class Tempered(M2):
    """M2 with a temperature in its classifier, and an option that is no single number."""

    def __init__(self, latent_dim=2, hidden_dims=(16,), num_classes=3, **options):
        sizes = {"latent_dim": latent_dim, "hidden_dims": hidden_dims, "num_classes": num_classes}
        super().__init__(**{"input_shape": (1, 4, 4)} | sizes | options)
        self.register_buffer("annealed_temperature", torch.ones(()))
        self.register_buffer("annealed_pair", torch.ones(2))

    def _class_logits(self, scores):
        # A stand-in for what overflows when it gets too cold.
        alive = torch.where(self.annealed_temperature > 0.25, 1.0, torch.nan)
        return alive * scores / self.annealed_temperature


def tempered():
    torch.manual_seed(0)
    return Tempered(**oracle.PLAIN)


def evaluated(model, elbo, anneal):
    """Loss, gradients, terms and latents, from the same noise every time."""
    objective = Objective(model, 12, 108, anneal=anneal)
    objective.elbo = elbo = keeping_traces(elbo)
    torch.manual_seed(3)
    with pyro.validation_enabled(False), oracle.recorded_traces(elbo) as traces:
        loss, terms = objective(batch_of(blobs()))
    return loss, oracle.gradients(loss, model), terms, traces[-1][0]


def test_values_are_linear_and_then_stay():
    annealing = Annealing({"a": Anneal(2.0, 0.1, 4), "b": Anneal(0, 1, 2)}, torch.zeros(()))
    seen = []
    for _ in range(6):
        annealing.advance()
        seen.append({key: value.clone() for key, value in annealing.items()})
    a = [2.0, 1.525, 1.05, 0.575, 0.1, 0.1]
    assert [float(v["a"]) for v in seen] == pytest.approx(a)
    assert [float(v["b"]) for v in seen] == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    # Not 0.1 but for rounding.
    assert torch.equal(seen[-1]["a"], torch.tensor(0.1))
    annealing.step.fill_(3)
    annealing.advance()
    assert dict(annealing.items())["a"].item() == pytest.approx(0.575)


@pytest.mark.parametrize("elbo", ELBOS)
@pytest.mark.parametrize(
    ("key", "weighed"),
    [
        ("kl_z", {"labelled_kl_z": 0.1, "unlabelled_kl_z": 0.9}),
        ("kl_y", {"unlabelled_kl_y": 0.9}),
        ("classification", {"classification": 0.1 * 5.0}),
        ("labelled_bound", {"labelled_elbo": -0.1}),
        ("unlabelled_bound", {"unlabelled_elbo": -0.9}),
    ],
)
def test_a_weight_scales_its_terms_and_no_others(elbo, key, weighed):
    model = small_m2().double()
    make = ELBOS[elbo]
    plain = evaluated(model, make(), None)
    none, quarter, whole = (evaluated(model, make(), {key: constant(w)}) for w in (0.0, 0.25, 1.0))
    # A weight of 1 changes nothing, of 0 takes away what is reported, and between is between.
    torch.testing.assert_close(whole[0], plain[0])
    oracle.assert_same(whole[1], plain[1])
    share = sum(factor * plain[2][name] for name, factor in weighed.items())
    assert abs(share) > 1e-3
    torch.testing.assert_close(plain[0] - none[0], share)
    torch.testing.assert_close(quarter[0], 0.75 * none[0] + 0.25 * whole[0])
    between = {n: 0.75 * none[1][n] + 0.25 * whole[1][n] for n in plain[1]}
    oracle.assert_same(quarter[1], between)
    assert any((none[1][n] - plain[1][n]).abs().max() > 1e-4 for n in plain[1])
    # What is reported is unweighted.
    for name, value in plain[2].items():
        torch.testing.assert_close(none[2][name], value, msg=name)


@pytest.mark.parametrize("elbo", ["static", "TraceEnum"])
def test_annealed_loss_and_gradient_are_those_of_the_formula(elbo):
    model, weights = small_m2().double(), {"kl_z": 0.3, "kl_y": 0.6, "classification": 0.2}
    weights |= {"labelled_bound": 0.8, "unlabelled_bound": 0.7}
    anneal = {key: constant(value) for key, value in weights.items()}
    loss, gradients, _, trace = evaluated(model, ELBOS[elbo](), anneal)
    xs, ys, n = oracle.unpacked(batch_of(blobs()))

    def bound(xs, ys, zs):
        loc, scale = oracle.posterior(model, xs, ys)
        zs = loc + scale * oracle.noise(model, xs, ys, zs)
        kl = oracle.normal_log_prob(zs, loc, scale) - oracle.normal_log_prob(zs, 0.0, 1.0)
        logits = model.decoder(zs, ys)
        log_px = -F.binary_cross_entropy_with_logits(logits, xs.flatten(1), reduction="none")
        return log_px.sum(-1) - weights["kl_z"] * kl

    labelled = bound(xs[:n], ys[:n], trace.nodes["labelled/z"]["value"]) + torch.tensor(1 / 3).log()
    cross_entropy = oracle.classification(model, xs[:n], ys[:n])
    log_q = model.classifier(xs[n:].flatten(1)).log_softmax(-1)
    zs = trace.nodes["unlabelled/z"]["value"]
    bounds = torch.stack([bound(xs[n:], torch.full((9,), k), zs[k]) for k in range(3)], -1)
    unlabelled = log_q.exp() * (bounds - weights["kl_y"] * (log_q - torch.tensor(1 / 3).log()))
    by_hand = -0.1 * (0.8 * labelled - 0.2 * 5.0 * cross_entropy).mean()
    by_hand -= 0.9 * 0.7 * unlabelled.sum(-1).mean()
    torch.testing.assert_close(loss, by_hand, rtol=1e-6, atol=1e-6)
    oracle.assert_same(gradients, oracle.gradients(by_hand, model))


@pytest.mark.parametrize("compiled", ["never", "always"])
def test_training_follows_the_schedule_step_by_step(compiled, as_recorded):
    model, weights = tempered(), []
    anneal = {"temperature": Anneal(2.0, 0.5, 6), "unlabelled_bound": Anneal(0.0, 1.0, 4)}
    config = replace(CONFIG, epochs=3, learning_rate=1e-30, compile=compiled, anneal=anneal)

    def weight_of_the_step(progress):
        weights.append(model.annealed_temperature.item())

    history = fit(model, blobs(), config, on_step=weight_of_the_step)
    assert history.execution == ("compiled" if compiled == "always" else "eager")
    expected = [2.0 - 0.25 * min(t, 6) for t in range(9)]
    assert weights == pytest.approx(expected)
    # Nothing moves: what changes is the weight, and the temperature of what is weighed.
    for row, shares in zip(history.rows, ((0, 0.25, 0.5), (0.75, 1, 1), (1, 1, 1)), strict=True):
        known = -0.1 * row["labelled_elbo"] + row["classification"]
        unknown = -0.9 * row["unlabelled_elbo"] * sum(shares) / 3
        assert row["loss"] == pytest.approx(known + unknown, rel=0.02)
    if compiled == "always":
        eager = fit(tempered(), blobs(), replace(config, compile="never")).rows
        for ours, theirs in zip(history.rows, eager, strict=True):
            ours["seconds"] = theirs["seconds"]
            assert ours == pytest.approx(theirs, rel=1e-4)


def test_weights_of_one_train_as_if_nothing_were_annealed():
    options = {"batch_norm": True, "input_dropout": 0.2}
    keys = ("kl_z", "kl_y", "classification", "labelled_bound", "unlabelled_bound")
    plain, annealed = small_m2(**options), small_m2(**options)
    fit(plain, blobs(), CONFIG)
    fit(annealed, blobs(), replace(CONFIG, anneal={key: constant(1.0) for key in keys}))
    # The check of the keys before the first step leaves no trace either.
    assert same_weights(plain, annealed)


class StopError(Exception):
    pass


def test_resumed_run_is_bit_identical_and_may_go_on_for_longer(tmp_path):
    # Ends in the middle of the fourth epoch.
    anneal = {"kl_z": Anneal(0.0, 1.0, 10), "temperature": Anneal(2.0, 0.5, 10)}
    config = replace(CONFIG, epochs=6, anneal=anneal)
    whole, path, steps = tempered(), tmp_path / "run.pt", iter(range(100))
    rows = fit(whole, blobs(), config).rows

    def stop(progress):
        if next(steps) == 7:
            raise StopError

    with pytest.raises(StopError):
        fit(tempered(), blobs(), replace(config, epochs=5), checkpoint=path, on_step=stop)
    assert load_checkpoint(path)["epoch"] == 2
    resumed = tempered()
    rest = fit(resumed, blobs(), config, checkpoint=path, resume=True).rows
    assert same_weights(whole, resumed)
    assert without_seconds(rest) == without_seconds(rows)
    assert resumed.annealed_temperature == 0.5
    unannealed = tempered()
    fit(unannealed, blobs(), replace(config, anneal={}))
    assert not same_weights(whole, unannealed)

    config = replace(config, anneal=anneal | {"kl_z": Anneal(0.0, 1.0, 11)})
    with pytest.raises(CheckpointError, match="another anneal"):
        fit(tempered(), blobs(), config, checkpoint=path, resume=True)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_replay_anneals_alike():
    # 1 - 0.1 t falls to 0.2 at step 8, the last of the third epoch.
    config = replace(CONFIG, anneal={"temperature": Anneal(1.0, 0.1, 9)})
    with pytest.raises(NonFiniteError) as caught:
        fit(tempered(), blobs(), config)
    assert (caught.value.epoch, caught.value.step) == (2, 2)
    assert caught.value.site == "labelled/classification"


def test_a_step_looks_at_no_value():
    anneal = {"kl_z": Anneal(0, 1, 9), "temperature": Anneal(1, 0.5, 9)}
    config = replace(
        CONFIG, anneal=anneal, max_gradient_norm=0.1, l1=0.1, l2=0.1, optimiser="rmsprop"
    )
    with pyro.validation_enabled(False), pyro.get_param_store().scope():
        trainer = Trainer(tempered(), blobs(), config)
        trainer.run_epoch()
        trainer._begin_epoch()
        with NoLooks():
            trainer._step()


@pytest.mark.parametrize(
    ("model", "key", "says"),
    [
        (tempered, "temprature", "one of classification, .*, temperature, unlabelled_bound$"),
        (tempered, "pair", "key 'pair'"),
        (small_m2, "temperature", "M2 has no such term on these rows, and no such option"),
        (small_m2, "kl_w", "expected one of classification, kl_y, kl_z, labelled_bound"),
        (lambda: small_m2(alpha=0.0), "classification", "M2 has no such term"),
        (lambda: MLPClassifier((1, 4, 4), 3), "kl_z", "expected one of labelled_bound"),
    ],
)
def test_keys_that_weigh_nothing_are_named_before_anything_is_written(tmp_path, model, key, says):
    path = tmp_path / "run.pt"
    config = replace(CONFIG, anneal={key: Anneal(0, 1, 10)})
    with pytest.raises(ConfigError, match=says):
        fit(model(), blobs(), config, checkpoint=path)
    assert not path.exists()


def test_an_observed_label_is_not_weighed():
    config = replace(CONFIG, batch_size=12, anneal={"kl_y": Anneal(0, 1, 10)})
    with pytest.raises(ConfigError, match="expected one of classification, kl_z, labelled_bound"):
        fit(small_m2(), blobs().labelled_only(), config)


def test_a_model_without_labels_is_annealed_too():
    config = replace(CONFIG, learning_rate=1e-30, anneal={"kl_z": Anneal(0.0, 1.0, 4)})
    rows = fit(small_vae(), unlabelled_blobs(), config).rows
    for row, weight in zip(rows, (0.25, 2.75 / 3, 1, 1), strict=True):
        loss = weight * row["unlabelled_kl_z"] - row["unlabelled_log_prob_x"]
        assert row["loss"] == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Anneal(float("nan"), 1.0, 10), "start is nan"),
        (lambda: Anneal(0.0, float("inf"), 10), "end is inf"),
        (lambda: Anneal(0.0, 1.0, 0), "steps is 0, expected a whole number, at least 1"),
        (lambda: FitConfig(anneal={"kl_z": 0.5}), r"anneal\['kl_z'\] is 0.5"),
    ],
)
def test_schedules_that_cannot_work_are_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


def test_a_configuration_is_hashable_and_keeps_its_own_copy():
    anneal = {"kl_z": Anneal(0, 1, 10)}
    config = FitConfig(anneal=anneal)
    anneal.clear()
    assert config.anneal == {"kl_z": Anneal(0, 1, 10)}
    assert hash(config) == hash(replace(config))
    assert config != FitConfig()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NO GPU: CUDA paths not tested")
@pytest.mark.parametrize("optimiser", ["adam", "rmsprop"])
def test_cuda_graph_anneals_caps_and_penalises_like_plain_steps(optimiser):
    anneal = {"kl_z": Anneal(0, 1, 9), "temperature": Anneal(2, 0.5, 9)}
    config = replace(
        CONFIG, anneal=anneal, max_gradient_norm=1.0, l1=0.01, l2=0.01, optimiser=optimiser
    )
    rows = []
    for graph in (False, True):
        model = tempered().to("cuda:0")
        history = fit(model, blobs().to("cuda:0"), replace(config, cuda_graph=graph))
        assert ("in a CUDA graph" in history.execution) == graph
        rows.append(without_seconds(history.rows))
    for ours, theirs in zip(*rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)
