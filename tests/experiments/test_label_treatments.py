import json
from dataclasses import replace

import pandas as pd
import pytest

from experiments import mnist_label_treatments
from experiments.engine.options import recorded_options
from experiments.engine.results import summarise
from experiments.engine.tables import treatments
from experiments.mnist_label_treatments import ALL, Config
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Anneal
from pyro_ssl.models import GumbelSoftmaxM2, LogisticNormalM2
from tests.experiments import built

TREATMENTS = dict.fromkeys(ALL[:-1])

DIGITS = {"dataset": "digits", "labels": 20, "validation": 50, "hidden_dims": (16,)}


def contenders(**options):
    config = Config(**DIGITS | options)
    return built.contenders(mnist_label_treatments.comparison(config), seed=1)


def test_all_is_every_treatment_and_the_baseline():
    found = contenders()
    assert set(found) == {*TREATMENTS, "mlpclassifier"}
    assert len(found) == 12
    digests = {c.split_digest for c in found.values()}
    assert len(digests) == 1


def test_models_differ_in_the_treatment_alone_where_none_has_options_of_its_own():
    found = contenders(
        logisticnormal_kl_z=(3.0, 1.0, 1500),
        stgumbelsoftmaxm2_alpha=15.0,
        stgumbelsoftmaxm2_learning_rate=3e-3,
        stgumbelsoftmaxm2_temperature=(0.5, 0.5, 1),
    )
    reference = found["m2"]
    assert reference.model.batch_norm == "separate"
    shared = set(reference.model.options)
    for name, contender in found.items():
        if name == "mlpclassifier":
            continue
        options = contender.model.options
        assert {k: options[k] for k in shared} == reference.model.options
        assert contender.fit_config == reference.fit_config
        assert contender.data.unlabelled_xs.equal(reference.data.unlabelled_xs)
    assert reference.fit_config.anneal == {"kl_z": Anneal(3.0, 1.0, 1500)}


def test_options_of_a_models_own_are_its_alone():
    found = contenders(
        logisticnormal_kl_z=(2.0, 1.0, 70),
        stgumbelsoftmaxm2_alpha=45.0,
        stgumbelsoftmaxm2_learning_rate=0.01,
        stgumbelsoftmaxm2_temperature=(0.3, 0.1, 9),
    )
    reference = found["m2"]
    kl_z = {"kl_z": Anneal(2.0, 1.0, 70)}
    normal = [name for name in TREATMENTS if "logisticnormal" in name]
    assert len(normal) == 4
    for name in normal:
        assert found[name].fit_config == replace(reference.fit_config, anneal=kl_z)
    anneal = reference.fit_config.anneal | {"temperature": Anneal(0.3, 0.1, 9)}
    own = found["stgumbelsoftmaxm2"].fit_config
    assert own == replace(reference.fit_config, anneal=anneal, learning_rate=0.01)
    weight = reference.model.alpha
    assert found["stgumbelsoftmaxm2"].model.alpha == pytest.approx(3 * weight)
    assert found["stgumbelsoftmaxm2"].model.temperature == 0.3
    for name in TREATMENTS.keys() - {*normal, "stgumbelsoftmaxm2"}:
        assert found[name].fit_config == reference.fit_config
    for name in TREATMENTS.keys() - {"stgumbelsoftmaxm2"}:
        assert found[name].model.alpha == weight


def test_a_run_tells_only_the_options_it_took():
    config = Config(**DIGITS)
    own = {name: recorded_options(config, name) for name in ALL}
    assert "kl_z" in own["m2"]
    for name in ("logisticnormal", "unsharpenedlogisticnormalm2"):
        assert "kl_z" not in own[name]
        assert own[name]["logisticnormal_kl_z"] == (3.0, 1.0, 5400)
    assert not own["stgumbelsoftmaxm2"].keys() & {"alpha", "learning_rate", "gumbel_temperature"}
    assert own["stgumbelsoftmaxm2"]["stgumbelsoftmaxm2_alpha"] == 60.0
    for name in own.keys() - {"stgumbelsoftmaxm2"}:
        assert not any(option.startswith("stgumbel") for option in own[name])
        assert {"alpha", "learning_rate"} <= own[name].keys()


def test_without_labels_there_is_no_baseline():
    assert set(contenders(labels=0)) == set(TREATMENTS)
    with pytest.raises(ConfigError, match="labels is 0"):
        contenders(labels=0, models=("m2", "mlpclassifier"))


def test_without_unlabelled_rows_batch_norm_is_not_separate():
    found = contenders(labels=1350, models=("m2",))["m2"]
    assert found.data.num_unlabelled == 0
    assert found.model.batch_norm is True


def test_baseline_makes_as_many_steps_as_the_others():
    found = contenders(batch_size=40, labelled_batch_size=10)
    assert {c.steps for c in found.values()} == {(1400 - 70) // 40}
    assert {c.fit_config.labelled_batch_size for c in found.values()} == {10}
    found = contenders(models=("m2",), labelled_batch_size=50)
    m2 = found["m2"]
    assert m2.fit_config.batches(m2.data).labelled == m2.data.num_labelled == 20


def test_sharpening_and_straight_through_are_what_their_names_say():
    found = {n: c.model for n, c in contenders(normal_temperature=(0.25, 0.25, 1)).items()}
    relaxed = {
        name: (type(model), model.temperature, model.straight_through)
        for name, model in found.items()
        if hasattr(model, "straight_through")
    }
    assert relaxed == {
        "gumbelsoftmaxm2": (GumbelSoftmaxM2, 0.5, False),
        "stgumbelsoftmaxm2": (GumbelSoftmaxM2, 0.06, True),
        "logisticnormalm2": (LogisticNormalM2, 0.25, False),
        "unsharpenedlogisticnormalm2": (LogisticNormalM2, 1.0, False),
        "stlogisticnormalm2": (LogisticNormalM2, 0.25, True),
    }


def test_annealed_options_reach_those_that_have_them():
    found = contenders(
        kl_z=(3.0, 1.0, 10),
        logisticnormal_kl_z=(2.0, 1.0, 70),
        kl_y=(0.0, 1.0, 20),
        kl_simplex=(0.5, 1.0, 60),
        classification=(0.0, 1.0, 30),
        labelled_bound=(2.0, 2.0, 1),
        gumbel_temperature=(1.0, 0.5, 40),
        prior_concentration=(1.0, 0.2, 50),
    )
    common = {
        "kl_z": Anneal(3.0, 1.0, 10),
        "classification": Anneal(0.0, 1.0, 30),
        "labelled_bound": Anneal(2.0, 2.0, 1),
    }
    label = Anneal(0.0, 1.0, 20)
    own = {
        "m2": {"kl_y": label},
        "gumbelsoftmaxm2": {"kl_y": label, "temperature": Anneal(1.0, 0.5, 40)},
        "logisticnormalm2": {"kl_z": Anneal(2.0, 1.0, 70), "kl_y": label},
        "logisticnormal": {"kl_z": Anneal(2.0, 1.0, 70), "kl_a": Anneal(0.5, 1.0, 60)},
        "loggamma": {"kl_pi": Anneal(0.5, 1.0, 60), "prior_concentration": Anneal(1.0, 0.2, 50)},
    }
    for name, wanted in own.items():
        assert found[name].fit_config.anneal == common | wanted
    assert found["mlpclassifier"].fit_config.anneal == {}
    assert found["loggamma"].model.annealed_prior_concentration == 1.0


def test_other_options_reach_the_networks_and_the_optimiser():
    found = contenders(
        models=("approxm2",),
        activation="maxout",
        parted_batch_norm=False,
        latent_noise=0.05,
        optimiser="rmsprop",
        max_gradient_norm=2.5,
        l2=1e-6,
        penalised="decoder.*",
        learning_rate_schedule="step",
        learning_rate_decay=0.5,
        learning_rate_decay_epochs=3,
    )
    model, how = found["approxm2"].model, found["approxm2"].fit_config
    assert (model.activation, model.batch_norm, model.latent_noise) == ("maxout", True, 0.05)
    assert (how.optimiser, how.max_gradient_norm) == ("rmsprop", 2.5)
    assert (how.l1, how.l2, how.penalised) == (0.0, 1e-6, "decoder.*")
    assert [how.learning_rate_at(e) / how.learning_rate for e in (0, 3, 6)] == [1, 0.5, 0.25]
    found = contenders(models=("m2", "mlpclassifier"), batch_norm=False)
    assert found["m2"].model.batch_norm is found["mlpclassifier"].model.batch_norm is False


def test_results_say_what_each_costs_and_buys(tmp_path):
    arguments = (
        "--dataset digits --labels 20 --validation 50 --epochs 3 --hidden-dims 16 --latent-dim 3 "
        f"--quiet --models m2 loggamma mlpclassifier --results-root {tmp_path}"
    )
    assert mnist_label_treatments.main(arguments.split()) == 0
    root = tmp_path / "mnist_label_treatments"
    names = ("m2", "loggamma", "mlpclassifier")
    for name in names:
        file = root / f"{name}-digits-20" / "seed_0.csv"
        frame = pd.read_csv(file)
        result = json.loads((root / f"{name}-digits-20" / "seed_0.json").read_text())
        best = frame["validation_accuracy"].max()
        assert result["validation_accuracy"] == pytest.approx(best, rel=1e-12)
        assert result["seconds_per_epoch"] == pytest.approx(frame["seconds"].median(), rel=1e-12)
        assert result["peak_memory_mib"] is None or 50 < result["peak_memory_mib"] < 50_000
        assert ("test_elbo" in result) == (name != "mlpclassifier")
        dimensions = [c for c in frame if c.startswith("validation_kl_z_")]
        assert len(dimensions) == (3 if name != "mlpclassifier" else 0)
    # What concerns one model alone tells no others' configurations apart.
    alone = {"num_samples", "num_summed", "latent_temperature", "prior_concentration"}
    configs = {n: json.loads((root / f"{n}-digits-20" / "config.json").read_text()) for n in names}
    assert {n: alone & set(c) for n, c in configs.items()} == {
        "m2": set(), "loggamma": {"prior_concentration"}, "mlpclassifier": set(),
    }  # fmt: skip
    # An 8x8 picture in 0 and 1 has at most 64 log 2 nats to a coin's flips.
    assert -80 < json.loads((root / "m2-digits-20/seed_0.json").read_text())["test_elbo"] < 0


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        ("--models mlpclassifier --validation 50", {"validation_accuracy"}),
        ("--models loggamma --validation 0", {"losses", "kl_by_site"}),
    ],
)
def test_what_is_not_known_is_not_drawn(tmp_path, arguments, drawn):
    options = f"--dataset digits --labels 20 --epochs 1 --hidden-dims 8 --latent-dim 2 {arguments}"
    options += f" --quiet --results-root {tmp_path}"
    assert mnist_label_treatments.main(options.split()) == 0
    files = (tmp_path / "mnist_label_treatments").glob("*.png")
    assert {f.stem.removeprefix("digits-20_") for f in files} == drawn


def row(model, accuracy, seconds, setting="mnist-100"):
    return {
        "run": f"mnist_label_treatments/{model}-{setting}",
        "model": model,
        "dataset": "mnist",
        "labels": 100,
        "validation_rows": 10,
        "validation_accuracy": accuracy + 0.01,
        "test_accuracy": accuracy,
        "test_ece": 0.1,
        "seconds_per_epoch": seconds,
        "peak_memory_mib": 100.4,
        "device": "a processor",
    }


def test_short_form_compares_with_m2_and_with_the_labelled_rows_alone():
    rows = [row("m2", 0.94, 12.0), row("m2", 0.96, 12.0), row("mlpclassifier", 0.8, 0.6)]
    rows += [row("loggamma", 0.9, 3.0), row("m2", 0.5, 1.0, "mnist-100-tag")]
    table = treatments(summarise(pd.DataFrame(rows))).set_index("model")
    assert list(table.index) == [
        "M2-mnist-100", "LogGamma-mnist-100", "MLPClassifier-mnist-100", "M2-mnist-100-tag",
    ]  # fmt: skip
    assert table.loc["M2-mnist-100", "test_%"] == "95.00 +- 1.41"
    assert table.loc["M2-mnist-100", "validation_%"] == "96.00 +- 1.41"
    assert table["gain"].tolist() == ["+15.0", "+10.0", "+0.0", "-30.0"]
    assert table["cost"].tolist() == ["1.00", "0.25", "0.05", "0.08"]
    assert table["seeds"].tolist() == [2, 1, 1, 1]
    one = treatments(summarise(pd.DataFrame(rows[:4])))
    assert one["model"].tolist() == ["M2", "LogGamma", "MLPClassifier"]
