from dataclasses import replace

import pyro
import pytest
import torch

from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.metrics import importance_weighted_bound, kl_per_dimension
from pyro_ssl.models import Autoencoder, MLPClassifier
from tests import oracle
from tests.infer.problems import STEADY, blobs, small_m2, small_vae, unlabelled_blobs
from tests.infer.test_fit import without_seconds

CONFIG = FitConfig(epochs=3, batch_size=36, learning_rate=0.01, validation_bound=True, **STEADY)


def analytic(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1) - scale.log()


def test_kl_per_dimension_is_the_formula():
    vae, xs = small_vae().double(), blobs().validation_xs.double()
    by_hand = analytic(*oracle.vae_posterior(vae, xs)).mean(0)
    kls = kl_per_dimension(vae, xs)
    assert kls.shape == (2,)
    torch.testing.assert_close(kls, by_hand.detach())
    assert vae.training


def test_kl_per_dimension_draws_labels_from_the_guide():
    model, xs = small_m2().double(), blobs().validation_xs[:1].double()
    # No label is likelier than another by much, so that they must be drawn, not chosen.
    q = model.predict_proba(xs)[0]
    each = torch.stack(
        [analytic(*oracle.posterior(model, xs, torch.tensor([k])))[0] for k in range(3)]
    )
    torch.manual_seed(0)
    draws = kl_per_dimension(model, xs.expand(20_000, 1, 4, 4))
    error = ((q @ each**2 - (q @ each) ** 2) / 20_000).sqrt()
    assert ((draws - q @ each).abs() < 4 * error).all()
    assert (each.amax(0) - each.amin(0) > 20 * error).all()
    assert list(pyro.get_param_store().keys()) == []


def test_kl_per_dimension_of_a_model_without_such_a_latent():
    xs = blobs().validation_xs
    assert kl_per_dimension(MLPClassifier((1, 4, 4), 3), xs) is None
    assert kl_per_dimension(small_m2(), xs, site="y") is None
    assert kl_per_dimension(small_m2(), xs, site="w") is None


@pytest.mark.parametrize("binarise", [True, False])
def test_bound_and_divergences_of_a_classifying_model(binarise):
    data, model = blobs(), small_m2()
    grey = data.with_validation(0.2 + 0.6 * data.validation_xs, data.validation_ys)
    config = replace(CONFIG, keep_best=False, binarise=binarise)
    rows = fit(model, grey, config).rows
    columns = {"validation_elbo", "validation_kl_z_0", "validation_kl_z_1"}
    assert all(columns <= row.keys() for row in rows)
    torch.manual_seed(config.seed)
    xs = grey.validation_xs.bernoulli() if binarise else grey.validation_xs
    bound = importance_weighted_bound(model, xs).mean().item()
    assert rows[-1]["validation_elbo"] == pytest.approx(bound, rel=1e-6)
    kls = kl_per_dimension(model, xs).tolist()
    found = [rows[-1][f"validation_kl_z_{d}"] for d in range(2)]
    assert found == pytest.approx(kls, rel=1e-6)


def test_selection_and_training_are_those_without_the_bound():
    histories = [
        fit(small_m2(), blobs(), replace(CONFIG, epochs=8, validation_bound=bound))
        for bound in (True, False)
    ]
    assert histories[0].selection == "best validation accuracy"
    assert histories[0].selected_epoch == histories[1].selected_epoch
    extra = ("validation_elbo", "validation_kl_z")
    plain = [
        {k: v for k, v in row.items() if not k.startswith(extra)}
        for row in without_seconds(histories[0].rows)
    ]
    assert plain == without_seconds(histories[1].rows)


def test_the_noise_is_the_same_in_every_epoch():
    frame = fit(small_m2(), blobs(), replace(CONFIG, learning_rate=1e-30)).to_frame()
    for column in ("validation_elbo", "validation_kl_z_0", "validation_kl_z_1"):
        assert frame[column].nunique() == 1
    other = fit(small_m2(), blobs(), replace(CONFIG, learning_rate=1e-30, seed=1)).to_frame()
    assert other["validation_elbo"].iloc[0] != frame["validation_elbo"].iloc[0]


def test_models_have_the_columns_that_apply():
    torch.manual_seed(0)
    config = replace(CONFIG, epochs=1)
    (row,) = fit(small_vae(), unlabelled_blobs(), config).rows
    assert {"validation_elbo", "validation_kl_z_0"} <= row.keys()
    (row,) = fit(small_vae(), unlabelled_blobs(), replace(config, validation_bound=False)).rows
    assert "validation_kl_z_0" not in row
    autoencoder = Autoencoder(input_shape=(1, 4, 4), latent_dim=2, hidden_dims=(16,))
    (row,) = fit(autoencoder, unlabelled_blobs(), config).rows
    assert {k for k in row if k.startswith("validation")} == {"validation_log_prob_x"}
    classifier = MLPClassifier((1, 4, 4), 3)
    data = blobs().labelled_only()
    (row,) = fit(classifier, data, replace(config, batch_size=12)).rows
    found = {k for k in row if k.startswith("validation")}
    assert found == {"validation_accuracy", "validation_ece"}
