from dataclasses import replace
from typing import get_args

import pytest

from experiments import mnist_record
from experiments.mnist_record import Config, Ingredient
from tests.experiments import built

INGREDIENTS = get_args(Ingredient)
DIGITS = {"dataset": "digits", "labels": 20, "validation": 50, "hidden_dims": (16,), "channels": 4}


@pytest.fixture(scope="module")
def contenders():
    config = replace(Config(), leave_out=INGREDIENTS, **DIGITS)
    return built.contenders(mnist_record.comparison(config), seed=1)


def test_the_whole_recipe_has_every_ingredient(contenders):
    assert list(contenders) == ["record", *(f"without_{name}" for name in INGREDIENTS)]
    how, model = contenders["record"].fit_config, contenders["record"].model
    assert how.augmentation is not None
    assert (how.consistency.weight, how.consistency.targets) == (100.0, "labels")
    assert (how.consistency.threshold, how.weight_average) == (0.95, 0.995)
    assert (how.steps_per_epoch, how.batch_size, how.binarise) == (250, 200, False)
    assert how.anneal["consistency"].start == 0
    assert (model.channels, model.num_summed, model.alpha) == (4, 1, 100.0)
    # A view is changed more than a row.
    assert how.consistency.view.rotation > how.augmentation.rotation


@pytest.mark.parametrize("left_out", INGREDIENTS)
def test_each_of_the_others_lacks_one_of_them_and_nothing_else(contenders, left_out):
    whole, without = contenders["record"], contenders[f"without_{left_out}"]
    changes = {
        "augmentation": {"augmentation": None},
        "consistency": {"consistency": None, "anneal": {}},
        "pseudo_labels": {
            "consistency": replace(
                whole.fit_config.consistency, targets="probabilities", threshold=0.0
            )
        },
        "average": {"weight_average": None},
        "generative_model": {"term_weights": {"labelled_bound": 0.0, "unlabelled_bound": 0.0}},
        "convolutions": {},
    }
    assert without.fit_config == replace(whole.fit_config, **changes[left_out])
    options = dict(whole.model.options)
    if left_out == "convolutions":
        options["channels"] = None
    assert without.model.options == options
    assert (without.data.labelled_xs == whole.data.labelled_xs).all()
