from dataclasses import replace
from typing import get_args

import pandas as pd
import pytest
import torch

from experiments import mnist_record
from experiments.mnist_record import Config, Ingredient
from pyro_ssl.infer import Anneal, load_model
from pyro_ssl.json_files import read_json
from pyro_ssl.nets import MLP, WideResNet
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
    # What a teacher has taught need not become sure first.
    assert how.anneal == {}
    assert contenders["without_teachers"].fit_config.anneal["consistency"].start == 0
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
        "consistency": {"consistency": None},
        "sharpening": {"consistency": replace(term, temperature=1.0)},
        "alignment": {"consistency": replace(term, aligned=False)},
        "average": {"weight_average": None},
        "generative_model": {"term_weights": no_bound},
        "residual": {},
        "teachers": {"anneal": {"consistency": Anneal(0.0, 1.0, 500)}},
        "unlabelled_rows": {"consistency": None, "term_weights": no_bound},
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


def test_the_teacher_is_like_the_model_but_without_convolutions():
    config = replace(Config(), **DIGITS)
    (contender,) = built.contenders(mnist_record.comparison(config), seed=1).values()
    teacher = mnist_record.build_teacher(config, contender.data)
    assert (teacher.channels, teacher.input_dropout) == (None, 0.2)
    assert isinstance(teacher.classifier, MLP)
    taught = {"teachers": False, "unlabelled_rows": False, "average": True, "residual": True}
    for word, expected in taught.items():
        assert mnist_record.is_taught(config, f"without_{word}") is expected
    assert mnist_record.is_taught(config, "record")
    assert not mnist_record.is_taught(replace(config, teachers=0), "record")


def run(root, *words):
    more = ["--results-root", str(root), "--quiet", "--compile", "never", "--dataset", "digits"]
    more += ["--labels", "50", "--validation", "200", "--batch-size", "100", "--channels", "4"]
    more += ["--steps-per-epoch", "15", "--epochs", "1", "--hidden-dims", "32"]
    assert mnist_record.main([*more, *words]) == 0
    (found,) = root.glob("mnist_record/record-digits-50*")
    return found


def test_a_model_begins_with_what_its_teacher_says(tmp_path):
    lessons = [
        "--teachers",
        "2",
        "--teacher-epochs",
        "6",
        "--imitation-steps",
        "100",
        "--no-aligned",
    ]
    taught = run(tmp_path / "taught", *lessons)
    untaught = run(tmp_path / "untaught", "--teachers", "0")
    one, other = (read_json(folder / "seed_0.json") for folder in (taught, untaught))
    assert one["teachers_test_accuracy"] > 0.6
    # 15 steps alone teach little.
    assert one["test_accuracy"] > other["test_accuracy"] + 0.15
    assert "teachers_test_accuracy" not in other
    assert "teacher_epochs" not in other["config"]
    # The teachers' weights, which differ, are kept, and their epochs are told.
    first, second = (load_model(taught / f"seed_0_teacher_{k}.pt") for k in range(2))
    assert first.input_dropout == 0.2
    assert not torch.equal(*(next(m.classifier.parameters()) for m in (first, second)))
    assert "teacher 1: " in (taught / "seed_0.log").read_text()


def test_a_run_that_was_killed_after_its_teacher_goes_on_with_it(tmp_path, monkeypatch):
    lessons = ["--teachers", "1", "--teacher-epochs", "2", "--imitation-steps", "5"]
    whole = run(tmp_path / "whole", *lessons)

    def killed(data, classifier):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("experiments.engine.teacher.pseudo_labelled", killed)
        with pytest.raises(AssertionError):
            run(tmp_path / "killed", *lessons)
    made = (
        tmp_path / "killed" / whole.parent.name / whole.name / "seed_0_teacher_0.pt"
    ).read_bytes()
    found = run(tmp_path / "killed", *lessons, "--resume")
    assert (found / "seed_0_teacher_0.pt").read_bytes() == made
    columns = pd.read_csv(whole / "seed_0.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(
        pd.read_csv(found / "seed_0.csv").drop(columns="seconds"), columns, check_exact=True
    )
