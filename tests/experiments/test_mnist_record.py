from dataclasses import replace
from typing import get_args

import pytest

from experiments import mnist_record
from experiments.mnist_record import Config, Ingredient
from pyro_ssl.nets import WideResNet
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
    term = how.consistency
    assert (how.augmentation.changed, how.weight_average) == (0.25, 0.995)
    assert (term.weight, term.targets, term.temperature) == (100.0, "probabilities", 0.5)
    assert term.aligned
    assert (how.steps_per_epoch, how.batch_size, how.binarise) == (500, 400, False)
    assert how.anneal["consistency"].start == 0
    assert how.term_weights == {}
    assert isinstance(model.classifier.network, WideResNet)
    assert (model.channels, model.num_summed, model.alpha) == (None, 1, 100.0)
    # A view is changed more than a row, and always.
    assert term.view.rotation > how.augmentation.rotation
    assert term.view.changed == 1


@pytest.mark.parametrize("left_out", INGREDIENTS)
def test_each_of_the_others_lacks_one_of_them_and_nothing_else(contenders, left_out):
    whole, without = contenders["record"], contenders[f"without_{left_out}"]
    term, no_bound = whole.fit_config.consistency, {"labelled_bound": 0.0, "unlabelled_bound": 0.0}
    changes = {
        "augmentation": {"augmentation": None},
        "consistency": {"consistency": None, "anneal": {}},
        "sharpening": {"consistency": replace(term, temperature=1.0)},
        "alignment": {"consistency": replace(term, aligned=False)},
        "average": {"weight_average": None},
        "generative_model": {"term_weights": no_bound},
        "residual": {},
        "unlabelled_rows": {"consistency": None, "anneal": {}, "term_weights": no_bound},
    }
    assert without.fit_config == replace(whole.fit_config, **changes[left_out])
    options, others = dict(whole.model.options), dict(without.model.options)
    networks = options.pop("classifier"), others.pop("classifier")
    if left_out == "residual":
        options |= {"channels": 4, "batch_norm": "separate"}
        assert networks[1] is None
    else:
        for ours, theirs in zip(*(n.parameters() for n in networks), strict=True):
            assert ours.equal(theirs)
    assert others == options
    assert (without.data.labelled_xs == whole.data.labelled_xs).all()
