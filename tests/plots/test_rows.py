"""Figures of models whose inputs are no images: rows of features, counts, signals."""

import numpy as np
import pytest
import torch

from pyro_ssl import plots
from pyro_ssl.errors import DataError
from pyro_ssl.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, Poisson
from pyro_ssl.models import CCVAE, M2, VAE, MultiLabelCCVAE, MultiLabelM2

MIXED = Mixed((Gaussian(), Bernoulli(), Categorical(3), Poisson()))
# By kind: shape of an input, likelihood, inputs.
KINDS = {
    "table": ((4,), "gaussian", lambda n: torch.randn(n, 4) * torch.tensor([1, 100, 5, 0.1])),
    "one feature": ((1,), "gaussian", lambda n: torch.randn(n, 1)),
    "counts": ((5,), Poisson(), lambda n: torch.poisson(torch.full((n, 5), 3.0))),
    "mixed": (
        (4,),
        MIXED,
        lambda n: torch.stack([torch.randn(n), *torch.randint(2, (3, n)).float()], -1),
    ),
    "signal": ((2, 9), "gaussian", lambda n: torch.randn(n, 2, 9)),
    "colour": ((3, 4, 4), "bernoulli", lambda n: torch.rand(n, 3, 4, 4)),
    "counts of images": ((1, 4, 4), Poisson(), lambda n: torch.full((n, 1, 4, 4), 7.0)),
}


def models(shape, likelihood):
    torch.manual_seed(0)
    common = {"input_shape": shape, "hidden_dims": (6,), "likelihood": likelihood}
    return (
        M2(num_classes=3, latent_dim=2, batch_norm=False, **common),
        CCVAE(num_classes=3, style_dim=2, **common),
        MultiLabelCCVAE(num_classes=2, style_dim=2, **common),
        MultiLabelM2(num_classes=2, latent_dim=2, batch_norm=False, **common),
        VAE(latent_dim=2, **common),
    )


def figures(kind):
    """Every figure of a model's inputs, with its columns."""
    shape, likelihood, draw = KINDS[kind]
    m2, ccvae, attributes, attribute_m2, vae = models(shape, likelihood)
    xs = draw(4)
    yield lambda: plots.class_samples(m2, 3), 3
    yield lambda: plots.class_samples(ccvae, 3), 3
    yield lambda: plots.class_samples(attributes, 3), 3
    yield lambda: plots.prior_samples(m2, 2, 3), 3
    yield lambda: plots.prior_samples(attribute_m2, 2, 3), 3
    yield lambda: plots.analogies(m2, xs), 4
    for model in (m2, ccvae, attributes, attribute_m2, vae):
        yield lambda model=model: plots.reconstructions(model, xs), 4
    yield lambda: plots.class_swaps(ccvae, xs), 4
    yield lambda: plots.characteristic_walks(ccvae, xs[0], steps=3), 3
    yield lambda: plots.style_walks(ccvae, xs, xs.flip(0), steps=3), 3
    yield lambda: plots.class_variances(ccvae, 5), 3
    yield lambda: plots.interventions(attributes, xs, ["a", "b"]), 4
    yield lambda: plots.interventions(attribute_m2, xs, ["a", "b"]), 4


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_draws_what_suits_its_inputs(kind):
    shape = KINDS[kind][0]
    for make, columns in figures(kind):
        figure = make()
        if len(shape) == 3:
            assert all(axes.images and not axes.lines for axes in figure.axes)
            continue
        channels = shape[0] if len(shape) == 2 else 1
        assert len(figure.axes) % channels == 0
        for axes in figure.axes:
            assert not axes.images
            assert [len(line.get_ydata()) for line in axes.lines] == [shape[-1]] * columns


def test_features_are_drawn_over_their_ranges_which_are_written():
    model = models(*KINDS["table"][:2])[-1]
    xs = KINDS["table"][2](3)
    both = torch.cat([xs, model.decode(model.encode(xs)[0])]).numpy()
    figure = plots.reconstructions(model, xs)
    drawn = np.stack([line.get_ydata() for axes in figure.axes for line in axes.lines])
    least, largest = both.min(0), both.max(0)
    np.testing.assert_allclose(drawn, (both - least) / (largest - least), atol=1e-6)
    ticks = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert ticks[1] == f"1\n{least[1]:.3g} to {largest[1]:.3g}"
    assert figure.get_suptitle().startswith("inputs, and below them their reconstructions")


def test_constant_features_and_missing_entries():
    rows = torch.tensor([[3.0, torch.nan, 1.0], [3.0, torch.nan, torch.nan], [3.0, torch.nan, 2.0]])
    lines = plots.row_lines(rows, 3, "rows").axes[0].lines
    drawn = np.stack([line.get_ydata() for line in lines])
    np.testing.assert_array_equal(drawn[:, 0], [0.5, 0.5, 0.5])
    assert np.isnan(drawn[:, 1]).all()
    np.testing.assert_array_equal(drawn[:, 2], [0, np.nan, 1])


def test_signals_have_a_panel_for_each_channel():
    signals = torch.arange(24.0).view(4, 2, 3)
    figure = plots.row_lines(signals, 2, "signals")
    drawn = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    assert drawn[1] == [signals[0, 1].tolist(), signals[1, 1].tolist()]
    assert drawn[2] == [signals[2, 0].tolist(), signals[3, 0].tolist()]


@pytest.mark.parametrize("kind", ["table", "counts", "mixed", "signal"])
def test_figures_of_images_alone_name_another(kind):
    shape, likelihood, draw = KINDS[kind]
    m2, *_, vae = models(shape, likelihood)
    for make, instead in (
        (lambda: plots.manifold(vae), "reconstructions"),
        (lambda: plots.class_manifolds(m2), "class_samples"),
        (lambda: plots.reconstruction_frame(draw(3), draw(3), "title"), "reconstructions"),
        (lambda: plots.image_grid(draw(3), 2, "title"), "row_lines"),
        (lambda: plots.bottlenecks([plots.Bottleneck("a", draw(3), torch.arange(3), vae)]), "re"),
    ):
        with pytest.raises(
            DataError, match=rf"shape .*use {instead}|rows of features by {instead}"
        ):
            make()


def test_other_shapes_are_refused():
    codes = torch.randn(4, 5)
    with pytest.raises(DataError, match=r"codes of 'a' have shape \[4, 5\], expected \[N, 2\]"):
        plots.latent_positions({"a": codes}, torch.arange(4))
    with pytest.raises(DataError, match=r"points has shape \(4, 5\), expected \(N, 2\)"):
        plots.latent_map(codes.numpy(), np.arange(4), 4)
    with pytest.raises(DataError, match=r"originals has shape \(4, 5\) .*use reconstructions"):
        plots.signal_reconstructions(codes.numpy(), codes.numpy())
    with pytest.raises(DataError, match=r"images has shape \[4, 2, 3, 3\], expected .* C = 1 or 3"):
        plots.image_grid(torch.rand(4, 2, 3, 3), 2, "title")
    with pytest.raises(DataError, match=r"rows has shape \[4, 1, 1, 1\], expected features"):
        plots.row_lines(torch.rand(4, 1, 1, 1), 2, "title")


def test_values_that_are_no_brightness_are_scaled_and_the_title_says_so():
    images = torch.tensor([0.0, 20.0, 40.0]).view(3, 1, 1, 1)
    figure = plots.image_grid(images, 3, "counts")
    assert figure.axes[0].get_title() == "counts\n(from 0 to 40)"
    assert figure.axes[0].images[0].get_array()[1, [1, 3, 5]].tolist() == [0, 0.5, 1]
    # A little more than white is white.
    figure = plots.image_grid(images / 40 * 1.1, 3, "means")
    assert figure.axes[0].get_title() == "means"
    assert figure.axes[0].images[0].get_array()[1, 5] == 1


def test_unknown_labels_of_prior_samples_come_from_the_models_prior():
    model = M2((4,), 2, latent_dim=2, hidden_dims=(6,), batch_norm=False, label_prior=(0.01, 0.99))
    asked = []
    model.decode = lambda zs, ys, covariates=None: (asked.append(ys), torch.zeros(len(ys), 4))[1]
    plots.prior_samples(model, 20, 20)
    assert asked[0].float().mean() > 0.9
