from dataclasses import replace

import pytest

from experiments import mnist_adgm
from experiments.engine.options import recorded_options
from experiments.mnist_adgm import REDUCED, SCHEDULES, Config
from pyro_ssl.infer import Anneal
from pyro_ssl.infer.trainer import Trainer
from tests.experiments import built

DIGITS = {"dataset": "digits", "labels": 20, "validation": 50, "hidden_dims": (16,)}


def contenders(schedule="published", **options):
    config = replace(SCHEDULES[schedule], **DIGITS | options)
    return built.contenders(mnist_adgm.comparison(config), seed=1)


def test_the_published_schedule_is_the_authors():
    found = contenders()
    assert list(found) == ["adgm", "sdgm"]
    own = {
        "adgm": {"alpha": 1200.0, "num_samples": 10, "batch_norm": False},
        "sdgm": {"alpha": 60.0, "num_samples": 5, "batch_norm": "separate"},
    }
    for name, contender in found.items():
        options, how = contender.model.options, contender.fit_config
        shared = {"latent_dim": 100, "auxiliary_dim": 100, "num_summed": None, "num_points": 100}
        wanted = own[name] | shared | {"input_dropout": 0.0, "activation": "relu"}
        assert {k: options[k] for k in wanted} == wanted
        assert (how.epochs, how.steps_per_epoch, how.batch_size) == (1000, 600, 100)
        assert how.labelled_batch_size == 100
        assert how.bound_weights == "equal"
        assert (how.optimiser, how.binarise, how.anneal) == ("adam", True, {})
        rates = [how.learning_rate_at(epoch) for epoch in (0, 199, 200, 999)]
        assert rates == pytest.approx([3e-4, 3e-4, 2.25e-4, 3e-4 * 0.75**4])
        # The step size never comes down to the 3e-5 that the authors' code does not go below.
        assert rates[-1] > 3e-5
        # Twice the code's loss for ADGM, so twice its 5.
        assert how.max_gradient_norm == {"adgm": 10.0, "sdgm": 5.0}[name]
        # A prior N(0, 1) on the weights, spread over all training rows.
        rows = contender.data.num_labelled + contender.data.num_unlabelled
        assert how.l2 == pytest.approx(1 / (2 * rows))
    assert Config().hidden_dims == (500, 500)


def test_the_reduced_schedule_visits_two_classes_with_one_draw():
    for contender in contenders("reduced").values():
        options = contender.model.options
        assert (options["num_samples"], options["num_summed"]) == (1, 1)
        assert contender.fit_config.learning_rate > 3e-4
        assert contender.fit_config.epochs < 1000
        assert options["batch_norm"] == "separate"
        how = contender.fit_config
        assert (how.bound_weights, how.binarise) == ("rows", False)
        assert how.consistency is not None
        assert how.augmentation is not None


@pytest.mark.parametrize("words", [["--schedule", "reduced"], ["--schedule=reduced"]])
def test_the_schedule_is_what_all_else_starts_from(words):
    assert mnist_adgm.scheduled(["--epochs", "3", *words, "--quiet"]) == REDUCED
    assert mnist_adgm.scheduled(["--epochs", "3"]) == Config()
    with pytest.raises(SystemExit):
        mnist_adgm.main(["--schedule", "short"])


def test_what_tells_configurations_apart_says_what_the_schedule_stood_for():
    config = replace(REDUCED, sdgm_alpha=7.0)
    recorded = {name: recorded_options(config, name) for name in ("adgm", "sdgm")}
    assert recorded["adgm"]["alpha"] == REDUCED.alpha
    assert recorded["sdgm"]["sdgm_alpha"] == 7.0
    assert recorded["sdgm"]["num_summed"] == recorded["adgm"]["num_summed"] == 1
    assert "schedule" not in recorded["adgm"]
    assert "alpha" not in recorded["sdgm"]


def test_divergences_warm_up_and_weights_are_free_where_one_asks_for_it():
    found = contenders(kl_latents=(0.1, 1.0, 30), prior_scale=None, model=("sdgm",))
    (contender,) = found.values()
    how = contender.fit_config
    assert how.anneal == dict.fromkeys(("kl_a", "kl_z"), Anneal(0.1, 1.0, 30))
    assert how.l2 == 0.0
    # Both keys weigh terms of the model, or this would raise.
    Trainer(contender.model, contender.data, how)


def test_changed_images_and_averaged_weights_are_there_where_one_asks_for_them():
    plain = contenders(model=("adgm",))["adgm"].fit_config
    assert (plain.augmentation, plain.consistency, plain.weight_average) == (None, None, None)
    asked = {"changed": 0.5, "consistency": 50.0, "tolerance": 0.3, "weight_average": 0.99}
    contender = contenders(model=("adgm",), kl_latents=(0.1, 1.0, 30), **asked)["adgm"]
    how = contender.fit_config
    assert (how.augmentation.changed, how.weight_average) == (0.5, 0.99)
    assert (how.consistency.weight, how.consistency.tolerance) == (50.0, 0.3)
    assert how.anneal.keys() == {"kl_a", "kl_z", "consistency"}
    Trainer(contender.model, contender.data, how)


def test_options_of_what_is_not_there_tell_no_configurations_apart():
    without = recorded_options(Config())
    assert not {"consistency", "targets", "changed", "flip", "weight_average"} & without.keys()
    assert recorded_options(Config(targets="labels", small_changes=0.5)) == without
    with_term = recorded_options(Config(consistency=50.0))
    assert with_term["targets"] == "probabilities"
    assert "tolerance" not in with_term
    assert recorded_options(Config(consistency=50.0, tolerance=0.3))["tolerance"] == 0.3
