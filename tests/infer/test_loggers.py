"""What those who watch a run in TensorBoard or MLflow see."""

import io
import os
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError, NonFiniteError
from pyro_ssl.infer import (
    EpochLogger,
    FitConfig,
    MLflowLogger,
    TensorBoardLogger,
    draw_samples,
    fit,
)
from pyro_ssl.models import CCVAE, M2, Autoencoder, LatentM2, MLPClassifier, MultiLabelM2
from tests.infer.problems import STEADY, blobs, small_m2, small_vae, unlabelled_blobs

CONFIG = FitConfig(epochs=4, batch_size=40, seed=1, **STEADY)


class Kept(EpochLogger):
    """Keeps what it is to log."""

    def __init__(self, **options):
        super().__init__(**options)
        self.rows, self.pictures, self.ended = {}, {}, None

    def figures(self, row, epoch):
        self.rows[epoch] = row

    def picture(self, pixels, epoch):
        self.pictures[epoch] = pixels

    def close(self, failed=False):
        self.ended = "failed" if failed else "finished"


@pytest.fixture
def tensorboard():
    reason = "EVENT FILES NOT READ: tensorboard is not installed: pip install '.[tensorboard]'"
    return pytest.importorskip("tensorboard.backend.event_processing", reason=reason)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def test_a_run_is_the_same_with_a_logger_and_without():
    histories = []
    for log in (None, Kept(every=1)):
        model = small_m2(input_dropout=0.5)
        history = fit(model, blobs(), CONFIG, on_epoch=log)
        histories.append((history.rows, model.state_dict()))
    (rows, weights), (again, weights_again) = histories
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in again]
    assert all(weights[name].equal(weights_again[name]) for name in weights)


def test_each_epoch_is_logged_and_pictures_after_the_first_and_every_few():
    log = Kept(every=3)
    with log:
        history = fit(small_m2(), blobs(), CONFIG, on_epoch=log)
    assert log.ended == "finished"
    assert list(log.rows) == [1, 2, 3, 4]
    assert list(log.pictures) == [1, 3]
    for epoch, row in log.rows.items():
        made = history.rows[epoch - 1]
        assert row["unlabelled/elbo"] == made["unlabelled_elbo"]
        assert row["validation/accuracy"] == made["validation_accuracy"]
        assert row["training/loss"] == made["loss"]
        assert len(row) == len(made) - 1
    assert log.pictures[1].dtype == np.uint8
    assert log.pictures[1].shape[-1] == 3
    # Other weights, another picture.
    assert (log.pictures[1] != log.pictures[3]).any()
    none = Kept(every=0)
    fit(small_m2(), blobs(), replace(CONFIG, epochs=1), on_epoch=none)
    assert not none.pictures


def test_pictures_differ_by_what_was_learnt_alone():
    log = Kept(every=1)
    frozen = replace(CONFIG, epochs=2, learning_rate=1e-30)
    fit(small_m2(batch_norm=False), blobs(), frozen, on_epoch=log)
    assert (log.pictures[1] == log.pictures[2]).all()


def test_a_log_that_begins_with_a_resumed_run_has_the_epochs_before_it(tmp_path):
    file, log = tmp_path / "run.pt", Kept()
    fit(small_m2(), blobs(), replace(CONFIG, epochs=2), file)
    history = fit(small_m2(), blobs(), CONFIG, file, resume=True, on_epoch=log)
    assert list(log.rows) == [1, 2, 3, 4]
    assert [r["training/loss"] for r in log.rows.values()] == [r["loss"] for r in history.rows]


def test_a_run_that_fails_is_said_to_have_failed():
    log, model = Kept(), small_m2()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteError), log:
        fit(model, blobs(), CONFIG, on_epoch=log)
    assert log.ended == "failed"


def test_models_that_generate_images_are_drawn_and_no_others():
    torch.manual_seed(0)
    small = {"latent_dim": 2, "hidden_dims": (8,)}
    drawn = [
        small_m2(), small_vae(), M2((5, 4), 3, **small), M2((3, 4, 4), 3, **small),
        CCVAE((1, 4, 4), 3, style_dim=2, hidden_dims=(8,)),
        MultiLabelM2(input_shape=(1, 4, 4), num_classes=2, **small),
    ]  # fmt: skip
    for model in drawn:
        assert draw_samples(model) is not None, type(model).__name__
    others = [
        MLPClassifier((1, 4, 4), 3), M2((7,), 3, likelihood="gaussian", **small),
        M2((2, 4, 4), 3, **small), Autoencoder((1, 4, 4), **small), LatentM2(4, 3, **small),
        M2((2, 16), 3, likelihood="gaussian", **small),
    ]  # fmt: skip
    for model in others:
        assert draw_samples(model) is None, type(model).__name__
    with pytest.raises(ConfigError, match="every is -1"):
        Kept(every=-1)


def test_event_files_hold_every_figure_and_the_pictures(tensorboard, tmp_path):
    config = replace(CONFIG, epochs=6)
    with TensorBoardLogger(tmp_path, options=asdict(config), every=3) as log:
        history = fit(small_m2(), blobs(), config, on_epoch=log)
    found = events(tmp_path)
    tags = found.Tags()
    assert len(tags["scalars"]) == len(history.rows[0]) - 1
    for tag, column in (
        ("unlabelled/elbo", "unlabelled_elbo"), ("training/loss", "loss"),
        ("validation/accuracy", "validation_accuracy"), ("labelled/kl_z", "labelled_kl_z"),
    ):  # fmt: skip
        scalars = found.Scalars(tag)
        assert [s.step for s in scalars] == [1, 2, 3, 4, 5, 6]
        expected = [row[column] for row in history.rows]
        assert [s.value for s in scalars] == pytest.approx(expected, rel=1e-6)
    pictures = found.Images("samples")
    assert [p.step for p in pictures] == [1, 3, 6]
    # A row for each of three classes, neither blank nor cut.
    with Image.open(io.BytesIO(pictures[-1].encoded_image_string)) as image:
        assert image.size == (pictures[-1].width, pictures[-1].height)
        assert len(set(image.convert("L").tobytes())) > 20
    text = found.Tensors("options/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| batch_size | 40 |" in text


def test_event_files_are_gone_on_with(tensorboard, tmp_path):
    file, folder = tmp_path / "run.pt", tmp_path / "log"
    for epochs in (2, 4):
        with TensorBoardLogger(folder, every=2) as log:
            fit(small_m2(), blobs(), replace(CONFIG, epochs=epochs), file, file.exists(), log)
    found = events(folder)
    assert [s.step for s in found.Scalars("training/loss")] == [1, 2, 3, 4]
    assert [p.step for p in found.Images("samples")] == [1, 2, 4]
    # From the start again: what was there is hidden.
    with TensorBoardLogger(folder, every=0) as log:
        history = fit(small_m2(3), blobs(), replace(CONFIG, epochs=1), on_epoch=log)
    again = events(folder).Scalars("training/loss")
    assert [s.step for s in again] == [1]
    assert again[0].value == pytest.approx(history.rows[0]["loss"], rel=1e-6)


def test_rows_without_images_or_labels_are_logged_all_the_same(tensorboard, tmp_path):
    data = unlabelled_blobs(real_valued=True)
    flat = SSLData.unlabelled(data.unlabelled_xs.flatten(1), real_valued=True)
    torch.manual_seed(0)
    model = small_vae().__class__((16,), latent_dim=2, hidden_dims=(8,), likelihood="gaussian")
    with TensorBoardLogger(tmp_path, every=1) as log:
        fit(model, flat, replace(CONFIG, epochs=1, binarise=False), on_epoch=log)
    tags = events(tmp_path).Tags()
    assert "unlabelled/elbo" in tags["scalars"]
    assert not tags["images"]


@pytest.mark.parametrize(
    ("module", "make", "says"),
    [
        ("torch.utils.tensorboard", lambda: TensorBoardLogger("x"), r"pyro_ssl\[tensorboard\]"),
        ("mlflow", MLflowLogger, r"pyro_ssl\[mlflow\]"),
    ],
)
def test_a_package_that_is_missing_is_named(module, make, says, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=says):
        make()


def test_mlflow_has_a_run_with_figures_options_and_pictures(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLFLOW NOT TRIED: pip install '.[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    address = (tmp_path / "runs").as_uri()
    log = MLflowLogger("mine", "first", address, options={"alpha": 3.0}, every=2)
    with log:
        history = fit(small_m2(), blobs(), CONFIG, on_epoch=log)
    run = log._client.get_run(log.run_id)
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"alpha": "3.0"}
    steps = log._client.get_metric_history(log.run_id, "unlabelled/elbo")
    expected = [(i + 1, row["unlabelled_elbo"]) for i, row in enumerate(history.rows)]
    assert sorted((m.step, m.value) for m in steps) == expected
    pictures = list((tmp_path / "runs").rglob("images/samples*.png"))
    assert len(pictures) == 3
    assert os.path.getsize(pictures[0])
