import math
from itertools import pairwise

import pytest
import torch

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.likelihoods import Gaussian
from pyro_ssl.metrics import (
    accuracy,
    confidence_bins,
    expected_calibration_error,
    importance_weighted_bound,
    intervention_score,
    predict_in_chunks,
)
from pyro_ssl.models import M1M2, M2, VAE, MLPClassifier
from tests import oracle


def test_accuracy_counts_likeliest_classes():
    probabilities = torch.tensor([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]])
    assert accuracy(probabilities, torch.tensor([0, 1, 1, 1])) == 0.75


def test_calibration_error_by_hand():
    # Two bins are used: confidence 0.9 four times, right three times; 0.6 twice, right once.
    confident, unsure = [0.9, 0.05, 0.05], [0.6, 0.2, 0.2]
    probabilities = torch.tensor([confident] * 4 + [unsure] * 2)
    ys = torch.tensor([0, 0, 0, 1, 0, 2])
    by_hand = 4 / 6 * abs(0.75 - 0.9) + 2 / 6 * abs(0.5 - 0.6)
    assert expected_calibration_error(probabilities, ys) == pytest.approx(by_hand, abs=1e-6)


def sure_of(*confidences, dtype=torch.float32):
    """Rows of two classes, the first of which has these probabilities."""
    first = torch.tensor(confidences, dtype=dtype)
    return torch.stack([first, 1 - first], -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bins_of_confidence_end_with_their_upper_edge(dtype):
    """Bins (m-1)/M < p <= m/M of Guo et al. (2017): 0.6 is in the 9th of 15, 1 in the 15th."""
    above = math.nextafter(0.6, 1.0) if dtype == torch.float64 else 0.60000008
    found = confidence_bins(sure_of(0.6, above, 0.5, 1.0, 0.94, dtype=dtype), torch.zeros(5).long())
    expected = [0.0] * 15
    expected[8], expected[9], expected[7], expected[14] = 1, 1, 1, 2
    assert found.rows.tolist() == found.right.tolist() == expected
    # A row's bin for every m / M, and the next number above it.
    edges = torch.arange(8, 15, dtype=dtype) / 15
    next_up = torch.nextafter(edges, torch.ones((), dtype=dtype))
    for values, places in ((edges, range(7, 14)), (next_up, range(8, 15))):
        rows = confidence_bins(sure_of(*values.tolist(), dtype=dtype), torch.zeros(7).long()).rows
        assert rows.nonzero().flatten().tolist() == list(places)


def test_a_confidence_of_one_has_no_bin_of_its_own():
    # Four rows of the last bin: sure and right, sure and wrong, nearly sure and right, twice.
    probabilities, ys = sure_of(1.0, 1.0, 0.96, 0.96), torch.tensor([0, 1, 0, 0])
    by_hand = abs(3 / 4 - (1 + 1 + 0.96 + 0.96) / 4)
    assert expected_calibration_error(probabilities, ys) == pytest.approx(by_hand, abs=1e-6)


def test_rounding_above_one_changes_nothing():
    ys = torch.tensor([0, 0, 1])
    exact = expected_calibration_error(sure_of(1.0, 0.9, 0.1), ys)
    rounded = sure_of(1.0, 0.9, 0.1)
    rounded[0] = torch.tensor([math.nextafter(1.0, 2.0) + 1e-7, -1e-7])
    assert rounded.max() > 1
    assert expected_calibration_error(rounded, ys) == pytest.approx(exact, abs=1e-6)
    attributes = torch.tensor([[1.0000001, 0.9]])
    assert expected_calibration_error(attributes, torch.tensor([[1, 1]])) == pytest.approx(0.05)


def test_logits_are_no_probabilities():
    for wrong in ([[3.2, -1.0]], [[-0.5, 1.5]], [[math.inf, 0.0]]):
        with pytest.raises(DataError, match=r"probabilities has the value .* expected values in"):
            expected_calibration_error(torch.tensor(wrong), torch.tensor([0]))
    with pytest.raises(ConfigError, match="bins is 0, expected a whole number, at least 1"):
        expected_calibration_error(sure_of(0.9), torch.tensor([0]), bins=0)
    with pytest.raises(DataError, match="ys has no known label"):
        expected_calibration_error(torch.empty(0, 3), torch.empty(0).long())


def test_attributes_count_one_by_one_where_they_are_known():
    probabilities = torch.tensor([[0.9, 0.2, 0.4], [0.1, 0.7, 0.8]])
    ys = torch.tensor([[1, 0, 1], [-1, 0, 1]])
    # Right: 0.9, 0.2, 0.8; wrong: 0.4, 0.7.
    assert accuracy(probabilities, ys) == pytest.approx(3 / 5)
    # Confidences 0.9, 0.8, 0.6, 0.7 and 0.8; those of 0.8 share a bin, of two right answers.
    by_hand = (0.1 + 2 * 0.2 + 0.6 + 0.7) / 5
    assert expected_calibration_error(probabilities, ys) == pytest.approx(by_hand, abs=1e-6)


def test_chunks_give_the_same_as_one_call():
    model = MLPClassifier((1, 2, 2), 3, hidden_dims=(4,), batch_norm=True)
    xs = torch.rand(23, 1, 2, 2)
    torch.testing.assert_close(predict_in_chunks(model, xs, rows=5), model.predict_proba(xs))


XS = torch.tensor([[0.3, -0.2, 1.1], [-1.0, 0.4, 0.2]]).double()


def linear_vae(latent_dim: int) -> VAE:
    """A Gaussian VAE whose networks are linear maps and whose scales are constants."""
    torch.manual_seed(1)
    vae = VAE((3,), latent_dim, hidden_dims=(), likelihood=Gaussian(min_scale=0.1)).double()
    with torch.no_grad():
        vae.encoder.layers[0].weight[latent_dim:] = 0.0
        # Wider than the posterior, whose scales are below 1: no weight is then far from the others.
        vae.encoder.layers[0].bias[latent_dim:] = 0.6
        vae.decoder.layers[0].weight[3:] = 0.0
    return vae


def exact_log_px(vae, xs):
    """log p(x) of `linear_vae`, a normal distribution, `[N]`."""
    layer = vae.decoder.layers[0]
    weight, (loc, raw) = layer.weight[:3].detach(), layer.bias.detach().split(3)
    scale = 0.1 + torch.nn.functional.softplus(raw)
    covariance = weight @ weight.T + (scale**2).diag()
    return torch.distributions.MultivariateNormal(loc, covariance).log_prob(xs)


def exact_elbo(vae, xs):
    """E_q[log p(x|z)] - KL of `linear_vae`, `[N]`."""
    layer = vae.decoder.layers[0]
    weight, (offset, raw) = layer.weight[:3].detach(), layer.bias.detach().split(3)
    variance = (0.1 + torch.nn.functional.softplus(raw)) ** 2
    with torch.no_grad():
        loc, scale = oracle.vae_posterior(vae, xs)
    squares = (xs - loc @ weight.T - offset) ** 2 + scale**2 @ (weight**2).T
    log_px = -0.5 * (squares / variance + variance.log() + math.log(2 * math.pi)).sum(-1)
    return log_px + 0.5 * (1 + (scale**2).log() - loc**2 - scale**2).sum(-1)


def mean_bound(model, xs, num_samples, repeats, **options):
    """Return mean and standard error of the bound of each row of `xs` over `repeats` runs."""
    many = xs.repeat(repeats, *[1] * (xs.dim() - 1))
    bounds = importance_weighted_bound(model, many, num_samples, **options)
    bounds = bounds.view(repeats, len(xs))
    return bounds.mean(0), bounds.std(0) / repeats**0.5


def test_bound_of_one_sample_is_the_elbo():
    vae = linear_vae(2)
    mean, error = mean_bound(vae, XS, 1, 20_000)
    exact = exact_elbo(vae, XS)
    assert ((mean - exact).abs() < 3 * error).all()
    assert (error < 0.05).all()
    elbo = vae.make_elbo()
    losses = torch.tensor([-elbo.loss(vae.model, vae.guide, XS) for _ in range(200)])
    both = (error.square().sum() + losses.var() / 200).sqrt()
    assert abs(losses.mean() - mean.sum()) < 3 * both


def test_bound_grows_with_the_samples_up_to_the_log_probability():
    vae = linear_vae(2)
    exact = exact_log_px(vae, XS)
    # The same number of draws of each row for any number of samples.
    found = [mean_bound(vae, XS, k, 200_000 // k) for k in (1, 5, 50, 500)]
    for (lower, lower_error), (mean, error) in pairwise(found):
        assert (mean > lower - 3 * (error**2 + lower_error**2).sqrt()).all()
    for mean, error in found:
        assert (mean < exact + 3 * error).all()
    # It starts far below, and what is left of the gap shrinks like one over the samples.
    gaps = [(exact - mean) for mean, _ in found]
    assert (gaps[0] > 0.5).all()
    assert (gaps[1] < 0.5 * gaps[0]).all()
    assert (gaps[3].abs() < 0.01 * gaps[0] + 3 * found[3][1]).all()


@pytest.mark.parametrize("num_samples", [1, 7, 23])
@pytest.mark.parametrize("at_once", [1, 10, 4000])
def test_draws_are_exactly_as_many_as_asked_for_however_they_are_chunked(num_samples, at_once):
    vae = linear_vae(1)
    # With the posterior for a guide every weight is p(x), and the bound p(x) whatever is drawn;
    # a draw too few or too many would change it by log(22/23) or the like.
    weight, (offset, raw) = vae.decoder.layers[0].weight[:3, 0], vae.decoder.layers[0].bias.split(3)
    precisions = (0.1 + torch.nn.functional.softplus(raw)) ** -2
    variance = 1 / (1 + (weight**2 * precisions).sum())
    with torch.no_grad():
        layer = vae.encoder.layers[0]
        layer.weight[0] = variance * weight * precisions
        layer.bias[0] = -(layer.weight[0] * offset).sum()
        layer.bias[1] = (variance.sqrt() - 1e-4).expm1().log()
    draws = []
    vae.decoder.register_forward_hook(
        lambda module, inputs, output: draws.append(output.shape[:-1].numel())
    )
    xs = torch.randn(5, 3).double()
    bounds = importance_weighted_bound(vae, xs, num_samples, at_once)
    torch.testing.assert_close(bounds, exact_log_px(vae, xs))
    assert sum(draws) == 5 * num_samples
    assert max(draws) <= max(at_once, 1)


def test_chunks_change_the_bound_by_no_more_than_noise():
    vae = linear_vae(2)
    found = [mean_bound(vae, XS, 10, 1000, at_once=at_once) for at_once in (100, 4000)]
    (few, few_error), (many, many_error) = found
    assert ((few - many).abs() < 3 * (few_error**2 + many_error**2).sqrt()).all()
    assert not torch.equal(few, many)


def tiny(cls, **options):
    torch.manual_seed(2)
    sizes = oracle.PLAIN | {"num_classes": 3, "latent_dim": 1, "hidden_dims": (4,)}
    model = cls(**sizes | options).double()
    # Labels are told apart, in another way than that of their uniform prior.
    for parameter in model.classifier.parameters():
        parameter.data.mul_(3.0)
    # Scales of about 1 everywhere, so that no weight is far from the others.
    model.encoder.layers[-1].bias.data[1:] = 0.6
    if cls is M1M2:
        model.decoder.layers[-1].bias.data[1:] = 0.6
    return model


PIXELS = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]]).double()
TWO_LAYERS = {
    "m1": {"input_shape": (4,), "latent_dim": 2, "hidden_dims": (4,)},
    "active": (1,),
    "train_m1": True,
}


@pytest.mark.parametrize(
    ("cls", "options"), [(M2, {"input_shape": (4,)}), (M1M2, TWO_LAYERS)], ids=["M2", "M1M2"]
)
def test_bound_of_one_sample_with_a_drawn_label_is_the_summed_elbo(cls, options):
    model = tiny(cls, **options)
    mean, error = mean_bound(model, PIXELS, 1, 20_000)
    elbo = model.make_elbo()
    losses = [-elbo.loss(model.model, model.guide, PIXELS.repeat(100, 1)) / 100 for _ in range(100)]
    losses = torch.tensor(losses)
    both = (error.square().sum() + losses.var() / 100).sqrt()
    assert abs(losses.mean() - mean.sum()) < 3 * both
    assert both < 0.05


def exact_m2(model, xs):
    """log sum_y p(y) integral of p(z) p(x|y,z), `[N]`, one latent on a fine grid."""
    zs = torch.linspace(-8.0, 8.0, 2001).double().unsqueeze(1)
    log_prior = oracle.normal_log_prob(zs, 0.0, 1.0) + math.log(16 / 2000)
    total = []
    for k in range(model.num_classes):
        ys = torch.full((len(zs),), k)
        bernoulli = torch.distributions.Bernoulli(logits=model.decoder(zs, ys))
        log_px = bernoulli.log_prob(xs.unsqueeze(1)).sum(-1)
        total.append((log_px + log_prior).logsumexp(-1) - math.log(model.num_classes))
    return torch.stack(total).logsumexp(0)


def test_bound_of_many_samples_is_the_log_of_the_sum_over_classes():
    model = tiny(M2, input_shape=(4,))
    exact = exact_m2(model, PIXELS).detach()
    mean, error = mean_bound(model, PIXELS, 5000, 60)
    # The logarithm of a mean is low by half its relative variance: here half the variance of
    # one of the 60 bounds.
    bias = 60 * error**2 / 2
    assert (error < 0.006).all()
    assert ((mean + bias - exact).abs() < 3 * error).all()
    one, one_error = mean_bound(model, PIXELS, 1, 2000)
    assert (one < exact - 5 * one_error).all()
    found = []
    for model.class_chunk in (None, 2):
        torch.manual_seed(5)
        found.append(importance_weighted_bound(model, PIXELS, 7))
    torch.testing.assert_close(*found, atol=1e-12, rtol=1e-12)


def test_bound_is_taken_in_evaluation_mode_and_leaves_modes_and_statistics_alone():
    torch.manual_seed(3)
    model = VAE((4,), 2, hidden_dims=(5,), batch_norm=True).double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
    model.decoder.norms[0].eval()
    before = [(m, m.training) for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(5)
    found = importance_weighted_bound(model, PIXELS, 3)
    assert all(m.training == mode for m, mode in before)
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert not found.requires_grad
    torch.manual_seed(5)
    torch.testing.assert_close(importance_weighted_bound(model.eval(), PIXELS, 3), found)


class Painter:
    """Stands for a model whose images are the attributes themselves, one pixel each.

    Changing the first attribute changes nothing but it; changing the second changes the third as
    well; changing the third changes it in half of the images.
    """

    num_classes = 3

    def reconstruct(self, xs):
        # Not the input: its second attribute is another.
        return torch.stack([xs[:, 0], 1 - xs[:, 1], xs[:, 2]], 1)

    def intervene(self, xs, attribute, values):
        images = self.reconstruct(xs)
        images[:, attribute] = values.float()
        if attribute == 1:
            images[:, 2] = 1 - images[:, 2]
        if attribute == 2:
            images[::2] = self.reconstruct(xs)[::2]
        return images


class Judge:
    def predict_proba(self, xs):
        return xs


def test_intervention_score_is_of_one_change_and_no_other():
    xs = torch.randint(2, (40, 3)).float()
    scores = intervention_score(Painter(), Judge(), xs)
    assert scores["changed"].tolist() == [1.0, 1.0, 0.5]
    assert scores["alone"].tolist() == [1.0, 0.0, 0.5]
    assert scores["others"].tolist() == [1.0, 0.5, 1.0]
