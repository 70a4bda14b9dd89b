import numpy as np
import pytest
import torch

from experiments.engine import measures
from experiments.engine.attributes import measure_model
from experiments.engine.semi_supervised import labelled_rows, seeded_split
from experiments.shapes_ccvae import Config, comparison, load
from pyro_ssl.data import SHAPE_ATTRIBUTES, ImageDataset
from tests.experiments import built


def test_the_judge_learns_from_every_label_and_the_others_from_few():
    config = Config(
        train_rows=300, test_rows=30, size=16, labels=20, validation=50, epochs=7, judge_epochs=2
    )
    judge, *others = built.contenders(comparison(config)).values()
    assert (judge.name, judge.data.num_labelled, judge.fit_config.epochs) == ("judge", 250, 2)
    assert [other.name for other in others] == ["multilabelccvae", "multilabelm2", "mlpclassifier"]
    for other in others:
        assert (other.data.num_labelled, other.fit_config.epochs) == (20, 7)
        assert (other.data.validation_xs == judge.data.validation_xs).all()


def test_rows_that_know_no_attribute_are_never_labelled_nor_validated_on():
    ys = torch.tensor([[1, 0], [-1, 1], [-1, -1]]).repeat(20, 1)
    xs = torch.zeros(60, 1, 8, 8)
    dataset = ImageDataset("partly known", xs, ys, xs[:2], ys[:2], 2, "unknown")
    config = Config(validation=10, label_fraction=0.5)
    # Half of the 40 that know something, less those for validation.
    assert labelled_rows(config, dataset) == 15
    split = seeded_split(config, dataset, seed=3, labels=15)
    assert (len(split.labelled), len(split.unlabelled), len(split.validation)) == (15, 35, 10)
    rows = np.concatenate([split.labelled, split.unlabelled, split.validation])
    assert sorted(rows) == list(range(60))
    assert set(range(2, 60, 3)) <= set(split.unlabelled)


def test_accuracy_is_the_mean_of_that_of_each_attribute_known_in_the_test_set():
    sizes = {"train_rows": 60, "test_rows": 40, "size": 16, "labels": 10, "validation": 20}
    config = Config(**sizes, batch_size=10, device="cpu")
    dataset = load(config)
    dataset.test_ys[:, 1] = -1
    contender = built.contenders(comparison(config), dataset)["mlpclassifier"]
    result = built.measured(contender)
    each = {name: result[f"test_accuracy_{name}"] for name in SHAPE_ATTRIBUTES if name != "filled"}
    assert "test_accuracy_filled" not in result
    assert result["test_accuracy"] == pytest.approx(sum(each.values()) / 5)
    wrong = contender.model.predict_proba(dataset.test_xs)[:, 2].round() != dataset.test_ys[:, 2]
    assert each["red"] == pytest.approx(1 - wrong.float().mean().item())


def test_ccvaes_style_has_a_size_of_its_own_or_that_of_m2s_latent():
    sizes = []
    for options in ({"latent_dim": 5, "style_dim": 2}, {"latent_dim": 5, "style_dim": None}):
        config = Config(
            train_rows=60, test_rows=8, size=16, labels=10, validation=20, batch_size=10, **options
        )
        _, ccvae, m2, _ = (c.model for c in built.contenders(comparison(config)).values())
        sizes.append((ccvae.style_dim, m2.latent_dim))
    assert sizes == [(2, 5), (5, 5)]


def test_bounds_are_of_binary_pixels_where_training_sees_these(monkeypatch):
    config = Config(
        train_rows=60, test_rows=8, size=16, labels=10, validation=20, binarise=True, model=("m2",)
    )
    seen = []
    monkeypatch.setattr(
        measures,
        "importance_weighted_bound",
        lambda model, xs, at_once: (seen.append(xs), torch.zeros(len(xs)))[1],
    )
    contender = built.contenders(comparison(config))["multilabelm2"]
    result, _ = measure_model(contender, contender.run.dataset, config)
    assert result["test_elbo"] == 0
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
