"""Pseudo-labels: whose labels rows get, and which rows."""

from dataclasses import replace

import pytest
import torch

from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.infer import FitConfig, fit, pseudo_labelled
from pyro_ssl.models import MLPClassifier
from tests.infer.problems import blobs, small_m2

CONFIG = FitConfig(epochs=6, batch_size=36, learning_rate=0.01, compile="never", anneal={})


@pytest.fixture(scope="module")
def taught():
    data, model = blobs(), small_m2()
    fit(model, data, CONFIG)
    return data, model


def test_unlabelled_rows_get_the_most_probable_class_and_others_keep_theirs(taught):
    data, model = taught
    wrong = replace(data, labelled_ys=(data.labelled_ys + 1) % data.num_classes)
    found = pseudo_labelled(wrong, model)
    assert found.num_unlabelled == 0
    assert torch.equal(found.labelled_xs, torch.cat([data.labelled_xs, data.unlabelled_xs]))
    expected = model.predict_proba(data.unlabelled_xs).argmax(-1)
    assert torch.equal(found.labelled_ys, torch.cat([wrong.labelled_ys, expected]))
    assert torch.equal(found.validation_xs, data.validation_xs)


def test_rows_below_the_threshold_stay_unlabelled(taught):
    data, model = taught
    most = model.predict_proba(data.unlabelled_xs).amax(-1)
    middle = most.median().item()
    found = pseudo_labelled(data, model, threshold=middle)
    assert torch.equal(found.unlabelled_xs, data.unlabelled_xs[most < middle])
    assert torch.equal(found.labelled_xs[data.num_labelled :], data.unlabelled_xs[most >= middle])
    assert 0 < found.num_unlabelled < data.num_unlabelled


def test_bytes_become_numbers_and_modes_stay(taught):
    data, model = taught
    grey = (data.unlabelled_xs * 255).round().to(torch.uint8)
    model.train()
    found = pseudo_labelled(replace(data, unlabelled_xs=grey), model)
    assert model.training
    model.eval()
    assert torch.equal(found.labelled_xs[data.num_labelled :], grey.float() / 255)
    assert pseudo_labelled(found, model) is found


def test_a_model_without_a_label_of_its_own_ends_where_its_teacher_does(taught):
    data, model = taught
    student = MLPClassifier(data.input_shape, data.num_classes, hidden_dims=(16,))
    unknown = replace(data, labelled_xs=data.labelled_xs[:0], labelled_ys=data.labelled_ys[:0])
    fit(student, pseudo_labelled(unknown, model), replace(CONFIG, epochs=20))
    theirs, ours = (m.predict_proba(data.validation_xs).argmax(-1) for m in (model, student))
    assert (theirs == ours).double().mean() > 0.9


def test_what_has_no_classes_is_refused(taught):
    data, model = taught
    both = torch.ones(data.num_labelled, 2, dtype=torch.int64)
    attributes = SSLData(data.labelled_xs, both, data.unlabelled_xs, 2, None, None)
    with pytest.raises(DataError, match="labels are attributes, but pseudo-labels are classes"):
        pseudo_labelled(attributes, model)
    with pytest.raises(ConfigError, match=r"threshold is 1\.5"):
        pseudo_labelled(data, model, threshold=1.5)
    for none, problem in (([], "is empty"), ([model, "m"], r"\[1\] is 'm'"), (None, "is None")):
        with pytest.raises(ConfigError, match="classifiers *" + problem):
            pseudo_labelled(data, none)
    with pytest.raises(DataError, match="a classifier has num_classes 9, the data 3"):
        pseudo_labelled(data, MLPClassifier(data.input_shape, 9))


def test_several_classifiers_say_what_is_most_probable_under_their_mean(taught):
    data, model = taught
    other = small_m2()
    fit(other, data, replace(CONFIG, epochs=1, seed=7))
    found = pseudo_labelled(data, [model, other])
    both = [m.predict_proba(data.unlabelled_xs) for m in (model, other)]
    assert not torch.equal(*(p.argmax(-1) for p in both))
    expected = (both[0] + both[1]).argmax(-1)
    assert torch.equal(found.labelled_ys[data.num_labelled :], expected)
