"""What `fit` and the models do where they are told nothing."""

from dataclasses import asdict, replace

import pytest
import torch
from pyro import poutine

from pyro_ssl.data import SSLData
from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import Anneal, FitConfig, fit, load_checkpoint
from pyro_ssl.infer.batches import Share
from pyro_ssl.models import CCVAE, M2, VAE, GumbelSoftmaxM2, LatentM2, MLPClassifier, MultiLabelM2
from pyro_ssl.models.rows import Batch
from tests.infer.problems import STEADY, blobs, small_m2, small_vae, unlabelled_blobs

# Three steps an epoch.
CONFIG = FitConfig(epochs=10, batch_size=36)


def value_at(anneal: Anneal, step: int) -> float:
    return anneal.start + (anneal.end - anneal.start) * min(step / anneal.steps, 1)


@pytest.mark.parametrize("cls", [M2, GumbelSoftmaxM2])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (10, 9), (11, 10), (40, 36)])
def test_m2_starts_with_a_heavier_divergence_over_a_third_of_the_run(cls, epochs, steps):
    config = FitConfig(epochs=epochs, batch_size=36)
    model = cls(input_shape=(1, 4, 4), num_classes=3, latent_dim=2, hidden_dims=(8,))
    resolved = config.resolved(model, blobs())
    assert resolved.anneal == {"kl_z": Anneal(3.0, 1.0, steps)}
    assert [value_at(resolved.anneal["kl_z"], s) for s in (0, steps)] == [3.0, 1.0]
    assert config.anneal is None
    # What is resolved stays as it is.
    assert resolved.resolved(model, blobs(rows=60)) == resolved


def test_rows_a_batch_and_steps_an_epoch_are_filled_in_as_all_processes_share_them():
    data, config = blobs(labels=115), FitConfig(batch_size=12)
    for processes, rows in ((1, (5, 12, 9)), (2, (4, 12, 9)), (3, (3, 12, 9))):
        resolved = config.resolved(small_m2(), data, Share(0, processes))
        found = resolved.batch_size, resolved.labelled_batch_size, resolved.steps_per_epoch
        assert found == rows
        assert resolved.resolved(small_m2(), data) == resolved
    resolved = config.resolved(MLPClassifier((1, 4, 4), 3), data.labelled_only())
    assert (resolved.batch_size, resolved.steps_per_epoch) == (12, 9)
    resolved = config.resolved(small_vae(), unlabelled_blobs())
    assert (resolved.batch_size, resolved.labelled_batch_size) == (12, None)


def test_annealing_is_what_one_asks_for_and_nothing_where_no_model_recommends_any():
    for anneal in ({}, {"kl_y": Anneal(0.0, 1.0, 5)}):
        assert (
            FitConfig(batch_size=36, anneal=anneal).resolved(small_m2(), blobs()).anneal == anneal
        )
    shape, data = (1, 4, 4), unlabelled_blobs()
    for model in (
        MLPClassifier(shape, 3),
        CCVAE(shape, 3, style_dim=2, hidden_dims=(8,)),
        VAE(shape, 2, (8,)),
        LatentM2(2, 3, 2, (8,)),
        MultiLabelM2(input_shape=shape, num_classes=3, latent_dim=2, hidden_dims=(8,)),
    ):
        assert CONFIG.resolved(model, data).anneal == {}


def test_a_run_is_annealed_as_its_configuration_says_in_full(tmp_path):
    found = []
    for i, anneal in enumerate((None, {"kl_z": Anneal(3.0, 1.0, 9)}, {})):
        model = small_m2()
        config = FitConfig(epochs=10, batch_size=36, keep_best=False, anneal=anneal)
        fit(model, blobs(), config, checkpoint=tmp_path / f"{i}.pt")
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    written = load_checkpoint(tmp_path / "0.pt")["config"]
    assert written["anneal"] == {"kl_z": asdict(Anneal(3.0, 1.0, 9))}
    assert written["binarise"] is True


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_another_number_of_epochs_is_another_annealing(tmp_path, schedule):
    path = tmp_path / "run.pt"
    options = {"batch_size": 36, "learning_rate_schedule": schedule}
    fit(small_m2(), blobs(), FitConfig(epochs=2, **options), checkpoint=path)
    differing = "epochs .*anneal" if schedule == "cosine" else "anneal"
    with pytest.raises(CheckpointError, match=f"another {differing} .*'steps': 2.*'steps': 5"):
        fit(small_m2(), blobs(), FitConfig(epochs=6, **options), checkpoint=path, resume=True)
    history = fit(small_m2(), blobs(), FitConfig(epochs=2, **options), path, resume=True)
    assert len(history.rows) == 2


def test_a_steady_run_may_go_on(tmp_path):
    path, options = tmp_path / "run.pt", STEADY | {"batch_size": 36}
    fit(small_m2(), blobs(), FitConfig(epochs=1, **options), checkpoint=path)
    history = fit(small_m2(), blobs(), FitConfig(epochs=2, **options), path, resume=True)
    assert len(history.rows) == 2


def test_pixels_are_drawn_and_all_else_is_taken_as_it_is():
    shape, sizes = (1, 4, 4), {"latent_dim": 2, "hidden_dims": (8,)}
    real, pixels = unlabelled_blobs(real_valued=True), unlabelled_blobs()
    for likelihood, data, drawn in (
        ("bernoulli", pixels, True),
        ("laplace", pixels, False),
        ("gaussian", pixels, False),
        ("gaussian", real, False),
    ):
        for model in (VAE(shape, likelihood=likelihood, **sizes), M2(shape, 1, **sizes)):
            if isinstance(model, M2):
                model = M2(shape, 1, likelihood=likelihood, **sizes)
            assert CONFIG.resolved(model, data).binarise is drawn
    classifier = MLPClassifier(shape, 3)
    assert CONFIG.resolved(classifier, blobs()).binarise is True
    said = FitConfig(batch_size=36, binarise=False)
    assert said.resolved(small_m2(), blobs()).binarise is False


def test_real_values_train_with_all_defaults():
    generator = torch.Generator().manual_seed(0)
    ys = torch.arange(600) % 3
    centres = 3 * torch.randn(3, 6, generator=generator)
    xs = centres[ys] + torch.randn(600, 6, generator=generator)
    known = torch.where(torch.arange(600) < 12, ys, -1)
    data = SSLData.from_arrays(xs, known, real_valued=True)
    torch.manual_seed(0)
    model = M2((6,), 3, latent_dim=2, hidden_dims=(32,), likelihood="gaussian")
    rows = fit(model, data).rows
    assert rows[-1]["unlabelled_elbo"] > rows[0]["unlabelled_elbo"] + 1
    assert (model.predict_proba(xs).argmax(-1) == ys).float().mean() > 0.95


def patterns(seed: int, number: int):
    """Rows of ten patterns of 64 pixels, a fifth of them flipped in each."""
    kinds = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(99)).round()
    generator, ys = torch.Generator().manual_seed(seed), torch.arange(number) % 10
    flipped = torch.rand(number, 1, 8, 8, generator=generator) < 0.2
    return (kinds[ys] != flipped).float(), ys


def test_unlabelled_rows_help_by_default():
    (xs, ys), (new_xs, new_ys) = patterns(0, 1500), patterns(1, 1000)
    # One label a class.
    data = SSLData.from_arrays(xs, torch.where(torch.arange(1500) < 10, ys, -1))
    found = []
    for cls in (M2, MLPClassifier):
        torch.manual_seed(0)
        model = cls((1, 8, 8), 10)
        fit(model, data, FitConfig(epochs=10, batch_size=50))
        found.append((model.predict_proba(new_xs).argmax(-1) == new_ys).float().mean())
    assert found[0] > 0.9
    assert found[0] > found[1] + 0.1


class WithoutZ(M2):
    """A subclass without the latent whose annealing M2 recommends."""

    def model(self, xs, ys=None):
        with poutine.block(hide=["z", "labelled/z", "unlabelled/z"]):
            super().model(xs, ys)

    def guide(self, xs, ys=None):
        with poutine.block(hide=["z", "labelled/z", "unlabelled/z"]):
            super().guide(xs, ys)


def test_what_is_recommended_need_not_be_there_and_what_is_asked_for_must():
    config = FitConfig(epochs=1, batch_size=36)
    options = {"latent_dim": 2, "hidden_dims": (8,)}
    assert len(fit(WithoutZ((1, 4, 4), 3, **options), blobs(), config).rows) == 1
    asked = replace(config, anneal={"kl_z": Anneal(3.0, 1.0, 5)})
    with pytest.raises(ConfigError, match="kl_z"):
        fit(WithoutZ((1, 4, 4), 3, **options), blobs(), asked)


def test_a_given_classifier_is_called_once_for_all_rows():
    calls = []

    class Linear(torch.nn.Linear):
        def forward(self, xs):
            calls.append(len(xs))
            return super().forward(xs.flatten(1))

    model = M2((1, 4, 4), 3, latent_dim=2, hidden_dims=(8,), classifier=Linear(16, 3))
    calls.clear()
    model.train().guide(Batch(torch.rand(7, 1, 4, 4), torch.zeros(7, dtype=torch.int64), 3))
    assert calls == [7]
