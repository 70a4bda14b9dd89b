import numpy as np
import pandas as pd
import pytest
import torch

from pyro_ssl import plots
from pyro_ssl.errors import DataError
from pyro_ssl.models import M2


def seed(**columns):
    """A run's frame, epochs from 0."""
    length = len(next(iter(columns.values())))
    return pd.DataFrame({"epoch": range(length), **columns})


def panel(figure, heading):
    (axes,) = (a for a in figure.axes if a.get_title() == heading)
    return axes


def line(axes, model):
    (found,) = (drawn for drawn in axes.lines if drawn.get_label() == model)
    return found


def band(axes, model):
    """Lowest and highest value of a model's band at each epoch."""
    (at,) = (i for i, drawn in enumerate(axes.lines) if drawn.get_label() == model)
    corners = axes.collections[at].get_paths()[0].vertices
    heights = pd.Series(corners[:, 1]).groupby(corners[:, 0])
    return heights.min().tolist(), heights.max().tolist()


def legend(figure):
    (drawn,) = figure.legends
    return drawn.get_title().get_text(), [text.get_text() for text in drawn.get_texts()]


def test_accuracy_is_the_mean_in_percent_and_the_band_reaches_from_lowest_to_highest():
    runs = {
        "low": [seed(validation_accuracy=a) for a in ([0.5, 0.6, 0.7], [0.6, 0.8, 0.8])],
        "none": [seed(loss=[1.0, 2.0, 3.0])],
        "high": [seed(validation_accuracy=a) for a in ([0.7, 0.9, 0.9], [0.8, 0.8, 1.0])],
    }
    figure = plots.validation_accuracy(runs, "title")
    (axes,) = figure.axes
    assert [drawn.get_label() for drawn in axes.lines] == ["low", "high"]
    assert line(axes, "low").get_xdata().tolist() == [1, 2, 3]
    np.testing.assert_allclose(line(axes, "low").get_ydata(), [55, 70, 75])
    np.testing.assert_allclose(band(axes, "low"), [[50, 60, 70], [60, 80, 80]])
    np.testing.assert_allclose(band(axes, "high"), [[70, 80, 90], [80, 90, 100]])
    # The best at the end comes first, with its own line.
    heading, names = legend(figure)
    assert names == ["95.00  high", "75.00  low"]
    shown = [handle.get_color() for handle in figure.legends[0].legend_handles]
    assert shown == [line(axes, model).get_color() for model in ("high", "low")]
    assert "mean of 2 seeds" in heading
    assert "stopped early" not in heading


def test_a_seed_that_stops_early_keeps_its_last_value():
    runs = {"m": [seed(validation_accuracy=a) for a in ([0.5, 0.6], [0.6, 0.7, 0.8, 0.9])]}
    figure = plots.validation_accuracy(runs, "title")
    (axes,) = figure.axes
    np.testing.assert_allclose(line(axes, "m").get_ydata(), [55, 65, 70, 75])
    np.testing.assert_allclose(band(axes, "m"), [[50, 60, 60, 60], [60, 70, 80, 90]])
    heading, names = legend(figure)
    assert names == ["75.00  m"]
    assert "a seed that stopped early" in heading


def test_accuracys_axis_shows_three_quarters_of_the_epochs_and_marks_failures():
    later = np.linspace(0.9, 0.97, 40)
    first = np.full(10, 0.1)
    runs = {
        f"model {k}": [seed(validation_accuracy=np.concatenate([first, later - 0.01 * k]))]
        for k in range(4)
    }
    low, high = plots.validation_accuracy(runs, "title").axes[0].get_ylim()
    start = np.quantile(np.concatenate([first, later - 0.03]), 0.25) * 100
    margin = 0.05 * (97 - start)
    assert (low, high) == pytest.approx((start - margin, 97 + margin))
    assert start > 87
    # One that learnt nothing does not set the scale, but is not passed over in silence either.
    failed = seed(validation_accuracy=np.full(50, 0.1))
    figure = plots.validation_accuracy(runs | {"failed": [failed]}, "title")
    assert figure.axes[0].get_ylim() == pytest.approx((low, high))
    assert legend(figure)[1][-2:] == ["94.00  model 3", "10.00  failed (off the axis)"]
    # Where half of the models are far below, they are what is compared.
    some = {"failed": [failed], "model 0": runs["model 0"]}
    figure = plots.validation_accuracy(some, "title")
    assert figure.axes[0].get_ylim()[0] < 10
    assert legend(figure)[1] == ["97.00  model 0", "10.00  failed"]


def test_models_keep_their_own_look_in_every_figure():
    names = [f"model {k}" for k in range(12)]
    frame = seed(validation_accuracy=[0.5, 0.6], unlabelled_elbo=[-2.0, -1.0])
    runs = {name: [frame] for name in names}
    runs["model 3"] = [frame[["epoch", "validation_accuracy"]]]
    accuracy = plots.validation_accuracy(runs, "title").axes[0]
    losses = plots.losses(runs, "title").axes[0]

    def look(axes, name):
        # Dashes have no public getter.
        return line(axes, name).get_color(), line(axes, name)._dash_pattern[1]

    looks = [look(accuracy, name) for name in names]
    assert len({colour for colour, _ in looks[:11]}) == 11
    assert len({str(each) for each in looks}) == 12
    for name in names[4:]:
        assert look(losses, name) == look(accuracy, name)
    colours = [tuple(drawn.get_facecolor()[0][:3]) for drawn in accuracy.collections]
    assert len(set(colours[:11])) == 11


def test_losses_are_negative_elbos_of_training_and_validation():
    runs = {
        "one": [
            seed(unlabelled_elbo=[-9.0, -5.0], validation_elbo=[-8.0, -6.0], loss=[1.0, 2.0]),
            seed(unlabelled_elbo=[-7.0, -4.0], validation_elbo=[-9.0, -7.0], loss=[1.0, 2.0]),
        ],
        "training alone": [seed(unlabelled_elbo=[-8.0, -6.0])],
        "classifier": [seed(loss=[0.2, 0.1], validation_accuracy=[0.5, 0.6])],
        "two": [seed(unlabelled_elbo=[-6.0, -4.0], validation_elbo=[-7.0, -5.0])],
    }
    figure = plots.losses(runs, "title")
    training, validation = panel(figure, "training, unlabelled rows"), panel(figure, "validation")
    assert [drawn.get_label() for drawn in training.lines] == ["one", "training alone", "two"]
    assert [drawn.get_label() for drawn in validation.lines] == ["one", "two"]
    np.testing.assert_allclose(line(training, "one").get_ydata(), [8, 4.5])
    np.testing.assert_allclose(band(training, "one"), [[7, 4], [9, 5]])
    np.testing.assert_allclose(line(validation, "one").get_ydata(), [8.5, 6.5])
    np.testing.assert_allclose(band(validation, "one"), [[8, 6], [9, 7]])
    # In order of 5 and 6.5 of validation, and 6 of training where there is no validation.
    heading, names = legend(figure)
    assert names == ["two", "training alone", "one"]
    assert "mean of 1 to 2 seeds" in heading
    # Without validation there is no empty panel.
    some = plots.losses({"training alone": runs["training alone"]}, "title")
    assert [a.get_title() for a in some.axes] == ["training, unlabelled rows"]


def test_losses_axes_leave_out_the_first_epochs_and_mark_failures():
    values = np.concatenate([np.full(10, -500.0), np.linspace(-100, -90, 40)])
    runs = {f"model {k}": [seed(unlabelled_elbo=values - k)] for k in range(3)}
    runs["failed"] = [seed(unlabelled_elbo=np.full(50, -400.0))]
    figure = plots.losses(runs, "title")
    start = np.quantile(2 - values, 0.75)
    margin = 0.05 * (start - 90)
    assert figure.axes[0].get_ylim() == pytest.approx((90 - margin, start + margin))
    assert legend(figure)[1] == ["model 0", "model 1", "model 2", "failed (off the axis)"]


def test_kl_has_a_panel_for_each_site():
    runs = {
        "M2": [
            seed(
                unlabelled_kl_z=[90.0, 2.0, 3.0, 3.0, 5.0, 5.0],
                unlabelled_kl_y=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
                labelled_kl_z=[7.0] * 6,
                validation_kl_z_0=[8.0] * 6,
            ),
            seed(unlabelled_kl_z=[90.0, 4.0, 5.0, 5.0, 5.0, 7.0]),
        ],
        "classifier": [seed(loss=[0.1] * 6)],
        "other": [seed(unlabelled_kl_z=[3.0] * 6, unlabelled_kl_a=[4.0] * 6)],
    }
    figure = plots.kl_by_site(runs, "title")
    assert [a.get_title() for a in figure.axes] == ["KL of a", "KL of y", "KL of z"]
    drawn = [[each.get_label() for each in a.lines] for a in figure.axes]
    assert drawn == [["other"], ["M2"], ["M2", "other"]]
    zs = panel(figure, "KL of z")
    np.testing.assert_allclose(line(zs, "M2").get_ydata(), [90, 3, 4, 4, 5, 6])
    np.testing.assert_allclose(band(zs, "M2")[0], [90, 2, 3, 3, 5, 5])
    np.testing.assert_allclose(line(panel(figure, "KL of a"), "other").get_ydata(), [4] * 6)
    # From 2 to 7: the first epochs' peak does not set the scale.
    assert zs.get_ylim() == pytest.approx((1.75, 7.25))
    assert legend(figure)[1] == ["M2", "other"]


def test_kl_by_dimension_is_sorted_by_the_last_epoch():
    frame = seed(
        validation_kl_z_0=[0.5, 0.1, 0.2],
        validation_kl_z_1=[0.0, 1.0, 3.0],
        validation_kl_z_10=[0.1, 0.3, 0.4],
        unlabelled_kl_z=[9.0, 9.0, 9.0],
    )
    figure = plots.kl_by_dimension(frame, "title")
    axes, bar = figure.axes
    (image,) = axes.images
    np.testing.assert_allclose(
        image.get_array(), [[0.0, 1.0, 3.0], [0.1, 0.3, 0.4], [0.5, 0.1, 0.2]]
    )
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "10", "0"]
    # Cells are centred on epochs 1 to 3, the first row is at the top.
    assert image.get_extent() == [0.5, 3.5, 2.5, -0.5]
    assert image.get_clim() == (0, 3)
    assert bar.get_ylabel() == "KL, nats per validation example"


@pytest.mark.parametrize("draw", [plots.validation_accuracy, plots.losses, plots.kl_by_site])
def test_comparisons_name_the_models_without_anything_to_draw(draw):
    with pytest.raises(DataError, match="holds the models this, that, but none has"):
        draw({"this": [seed(loss=[1.0])], "that": [seed(loss=[1.0])]}, "title")


def test_kl_by_dimension_says_which_columns_it_lacks():
    with pytest.raises(DataError, match=r"columns epoch, loss, but none .* validation_kl_z_0"):
        plots.kl_by_dimension(seed(loss=[1.0]), "title")


def test_learning_curves_leave_out_single_dimensions():
    columns = {f"validation_kl_z_{d}": [1.0, 2.0] for d in range(11)}
    frame = seed(unlabelled_kl_z=[1.0, 2.0], unlabelled_kl_z1=[1.0, 2.0], **columns)
    axes = panel(plots.learning_curves(frame, "title"), "KL divergence")
    assert [drawn.get_label() for drawn in axes.lines] == ["unlabelled kl z", "unlabelled kl z1"]


def test_prior_samples_draw_classes_uniformly_and_z_anew():
    model = M2((1, 4, 4), 3, latent_dim=2, hidden_dims=(5,))
    labels, latents = [], []

    def forward(zs, ys):
        labels.append(ys)
        latents.append(zs)
        return (ys.float() - 1).unsqueeze(-1).expand(-1, 16)

    # Every class is a flat grey of its own.
    model.decoder.forward = forward
    torch.manual_seed(0)
    figure = plots.prior_samples(model, rows=20, columns=30)
    (ys,), (zs,) = labels, latents
    grid = torch.from_numpy(figure.axes[0].images[0].get_array().data.copy())
    assert grid.shape == (20 * 5 + 1, 30 * 5 + 1)
    expected = (ys.float() - 1).sigmoid().unflatten(0, (20, 30))
    torch.testing.assert_close(grid[1::5, 1::5], expected)
    torch.testing.assert_close(grid[4::5, 4::5], expected)
    # Four standard errors of a count of 600 draws, and of mean and variance of 1200 normals.
    counts = torch.bincount(ys, minlength=3)
    assert (counts - 200).abs().max() < 4 * (600 * 2 / 9) ** 0.5
    assert abs(zs.mean()) < 4 / 1200**0.5
    assert abs(zs.var() - 1) < 4 * (2 / 1200) ** 0.5
