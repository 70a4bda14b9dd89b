import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pyro_ssl import plots
from pyro_ssl.models import CCVAE, M2, VAE, Autoencoder, MultiLabelCCVAE, MultiLabelM2


def test_learning_curves_draw_the_columns_they_name():
    frame = pd.DataFrame(
        {
            "epoch": range(6),
            "labelled_elbo": [-900.0, -300.0, -110.0, -105.0, -101.0, -100.0],
            "unlabelled_elbo": [-950.0, -310.0, -112.0, -106.0, -102.0, -101.0],
            "unlabelled_kl_z": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "validation_accuracy": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        }
    )
    figure = plots.learning_curves(frame, "title")
    drawn = {line.get_label(): list(line.get_ydata()) for a in figure.axes for line in a.lines}
    assert drawn["unlabelled kl z"] == frame["unlabelled_kl_z"].tolist()
    assert drawn["validation accuracy"] == frame["validation_accuracy"].tolist()
    # The far-off first epochs do not set the scale, the later ones are all inside it.
    low, high = figure.axes[0].get_ylim()
    assert -120 < low < -112
    assert -100 < high < -95


def cell(figure, row, column, size=4):
    """The image at a place of a figure's grid, whose gaps are one pixel wide."""
    grid = torch.from_numpy(figure.axes[0].images[0].get_array().data.copy())
    top, left = 1 + row * (size + 1), 1 + column * (size + 1)
    return grid[top : top + size, left : left + size]


def test_class_samples_have_a_class_in_each_row():
    model = M2((1, 4, 4), 3, latent_dim=2, hidden_dims=(5,))
    # Make every class a flat grey of its own, whatever z is.
    model.decoder.forward = lambda zs, ys: (ys.float() - 1).unsqueeze(-1).expand(-1, 16)
    figure = plots.class_samples(model, columns=2)
    for k in range(3):
        expected = torch.tensor(float(k - 1)).sigmoid().expand(4, 4)
        for column in range(2):
            torch.testing.assert_close(cell(figure, k, column), expected)


def test_analogies_show_the_input_first_and_then_every_class():
    model = M2((1, 4, 4), 3, latent_dim=2, hidden_dims=(5,))
    xs = torch.rand(2, 1, 4, 4)
    figure = plots.analogies(model, xs)
    loc, _ = model.encode(xs)
    for row in range(2):
        torch.testing.assert_close(cell(figure, row, 0), xs[row, 0])
        for k in range(3):
            expected = model.decode(loc[row : row + 1], torch.tensor([k]))[0, 0]
            torch.testing.assert_close(cell(figure, row, k + 1), expected)


def ccvae():
    torch.manual_seed(0)
    model = CCVAE((1, 4, 4), 3, style_dim=2, hidden_dims=(5,))
    with torch.no_grad():
        model.prior_loc.normal_()
        model.prior_raw_scale.normal_()
    return model


def test_class_swaps_keep_the_style_and_take_each_class():
    model, xs = ccvae(), torch.rand(2, 1, 4, 4)
    figure = plots.class_swaps(model, xs)
    style = model.encode(xs)[0][:, 3:]
    for row in range(2):
        torch.testing.assert_close(cell(figure, row, 0), xs[row, 0])
        for k in range(3):
            z = torch.cat([model.prior_loc[k].detach(), style[row]])
            torch.testing.assert_close(cell(figure, row, k + 1), model.decode(z[None])[0, 0])


def test_characteristic_walks_move_one_dimension_over_the_prior():
    model, x = ccvae(), torch.rand(1, 4, 4)
    figure = plots.characteristic_walks(model, x, steps=3, reach=2.0)
    z = model.encode(x[None])[0][0]
    # The mixture's moments, from many draws of it.
    drawn = model._p_z_class(torch.arange(3).repeat(50_000)).sample()
    loc, scale = model.prior_moments()
    torch.testing.assert_close(loc, drawn.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(scale, drawn.std(0), atol=0.02, rtol=0)
    for row in range(3):
        for column, units in enumerate((-2.0, 0.0, 2.0)):
            moved = z.clone()
            moved[row] = loc[row] + units * scale[row]
            expected = model.decode(moved[None])[0, 0]
            torch.testing.assert_close(cell(figure, row, column), expected)


def test_style_walks_leave_the_class_latents():
    model, starts, ends = ccvae(), torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    figure = plots.style_walks(model, starts, ends, steps=3)
    first, last = model.encode(starts)[0], model.encode(ends)[0]
    for row in range(2):
        for column, share in enumerate((0.0, 0.5, 1.0)):
            style = (1 - share) * first[row, 3:] + share * last[row, 3:]
            expected = model.decode(torch.cat([first[row, :3], style])[None])[0, 0]
            torch.testing.assert_close(cell(figure, row, column), expected)


def test_class_variances_are_means_above_deviations():
    model = ccvae()
    # Samples of a class are 0 and 1 in turns, but for the last class, which is 1.
    model.sample = lambda ys: torch.where(ys == 2, 1.0, torch.arange(len(ys)) % 2)[
        :, None, None, None
    ].expand(-1, 1, 4, 4)
    figure = plots.class_variances(model, draws=400)
    for k, (mean, deviation) in enumerate([(0.5, 0.5), (0.5, 0.5), (1.0, 0.0)]):
        expected = torch.full((4, 4), mean)
        torch.testing.assert_close(cell(figure, 0, k), expected, atol=1e-3, rtol=0)
        expected = torch.full((4, 4), deviation)
        torch.testing.assert_close(cell(figure, 1, k), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", [MultiLabelCCVAE, MultiLabelM2])
def test_samples_of_attributes_are_without_and_with_each(kind):
    model, asked = kind(input_shape=(1, 4, 4), num_classes=2, hidden_dims=(5,)), []
    model.sample = lambda ys: (asked.append(ys), torch.zeros(len(ys), 1, 4, 4))[1]
    plots.class_samples(model, columns=3)
    expected = [[0, -1], [1, -1], [-1, 0], [-1, 1]]
    assert [ys.tolist() for ys in asked] == [[ys] * 3 for ys in expected]
    if kind is MultiLabelCCVAE:
        plots.class_variances(model, draws=5)
        assert [ys.tolist() for ys in asked[4:]] == [[ys] * 5 for ys in expected]


def test_reliability_bins_confidence_and_accuracy():
    probabilities = torch.tensor([[0.9, 0.1]] * 4 + [[0.38, 0.62]] * 2)
    ys = torch.tensor([0, 0, 0, 1, 1, 0])
    figure = plots.reliability(probabilities, ys, "title", bins=10)
    measured = next(line for line in figure.axes[0].lines if line.get_label() == "measured")
    points = {
        (round(float(x), 3), float(y)) for x, y in zip(*measured.get_data(), strict=True) if y == y
    }
    assert points == {(0.9, 0.75), (0.62, 0.5)}
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 6


def test_reliability_draws_the_bins_of_the_calibration_error():
    # 0.6 and 1 end their bins of 15; attributes count one by one, where they are known.
    figure = plots.reliability(
        torch.tensor([[0.6, 1.0], [0.96, 0.4]]), torch.tensor([[1, 1], [0, -1]]), ""
    )
    bars = {round(15 * bar.get_x()): bar.get_height() for bar in figure.axes[1].patches}
    assert {place: rows for place, rows in bars.items() if rows} == {8: 1, 14: 2}
    measured = next(line for line in figure.axes[0].lines if line.get_label() == "measured")
    np.testing.assert_allclose(measured.get_xydata(), [[0.6, 1.0], [0.98, 0.5]], rtol=1e-6)


def test_manifold_runs_over_quantiles_of_the_prior_from_the_lower_left():
    model = VAE((1, 4, 4), latent_dim=2, hidden_dims=())
    # The first pixel shows z1, the second z2.
    with torch.no_grad():
        layer = model.decoder.layers[0]
        layer.bias.zero_()
        layer.weight.zero_()
        layer.weight[0, 0] = layer.weight[1, 1] = 1.0
    figure = plots.manifold(model, cells=3)
    edge = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.975))
    for row, z2 in enumerate((edge, 0 * edge, -edge)):
        for column, z1 in enumerate((-edge, 0 * edge, edge)):
            shown = cell(figure, row, column)
            expected = torch.stack([z1, z2]).sigmoid()
            torch.testing.assert_close(shown[0, :2], expected, atol=1e-6, rtol=1e-6)


def test_class_manifolds_have_a_panel_for_each_class():
    model = M2((1, 4, 4), 3, latent_dim=2, hidden_dims=(5,))
    model.decoder.forward = lambda zs, ys: (ys.float() - 1 + zs[:, 0]).unsqueeze(-1).expand(-1, 16)
    figure = plots.class_manifolds(model, cells=2)
    panels = [a for a in figure.axes if a.get_title()]
    assert [a.get_title() for a in panels] == ["y = 0", "y = 1", "y = 2"]
    edge = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.975))
    for y, axes in enumerate(panels):
        grid = torch.from_numpy(axes.images[0].get_array().data.copy())
        expected = (y - 1 + torch.stack([-edge, edge])).sigmoid()
        torch.testing.assert_close(grid[1, [1, 6]], expected, atol=1e-6, rtol=1e-6)


def test_reconstructions_lie_below_their_inputs():
    model = VAE((1, 4, 4), latent_dim=2, hidden_dims=(5,))
    xs = torch.rand(3, 1, 4, 4)
    figure = plots.reconstructions(model, xs)
    again = model.decode(model.encode(xs)[0])
    for column in range(3):
        torch.testing.assert_close(cell(figure, 0, column), xs[column, 0])
        torch.testing.assert_close(cell(figure, 1, column), again[column, 0])


def test_latent_positions_are_the_codes_coloured_by_class():
    codes, ys = torch.randn(20, 2), torch.arange(20) % 4
    figure = plots.latent_positions({"one": codes, "two": 2 * codes}, ys, num_classes=4)
    for axes, scale in zip(figure.axes[:2], (1, 2), strict=True):
        (points,) = axes.collections
        np.testing.assert_allclose(points.get_offsets(), scale * codes.numpy())
        assert points.get_array().tolist() == ys.tolist()


def test_bottlenecks_show_the_decoders_curve_and_the_prior_of_a_vae_alone():
    points, components = torch.randn(50, 2), torch.arange(50) % 2
    options = {"input_shape": (2,), "latent_dim": 1, "hidden_dims": (5,), "likelihood": "gaussian"}
    models = {"AE": Autoencoder(**options), "VAE": VAE(**options)}
    panels = [plots.Bottleneck(n, points, components, m) for n, m in models.items()]
    figure = plots.bottlenecks(panels)
    for row, model in enumerate(models.values()):
        left, right = figure.axes[2 * row : 2 * row + 2]
        curve = next(line for line in left.lines if line.get_label() == "mean of p(x | z)")
        codes = model.encode(points)[0]
        ends = model.decode(torch.stack([codes.min(), codes.max()]).unsqueeze(-1))
        np.testing.assert_allclose(curve.get_xydata()[[0, -1]], ends, rtol=1e-5)
        area = sum(bar.get_height() * bar.get_width() for bar in right.patches)
        assert area == pytest.approx(1, abs=1e-4)
        assert ("prior" in [line.get_label() for line in right.lines]) == (row == 1)


def test_animation_has_every_frame_and_rests_on_the_last(tmp_path):
    originals = torch.rand(5, 1, 4, 4)
    frames = [
        plots.reconstruction_frame(originals, originals * share, f"epoch {e}")
        for e, share in enumerate((0.0, 0.5, 1.0))
    ]
    path = tmp_path / "a.gif"
    plots.save_animation(frames, path, milliseconds=100)
    with Image.open(path) as gif:
        assert gif.n_frames == 3
        durations = []
        for number in range(3):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert durations == [100, 100, 1000]
