import pandas as pd
import torch

from pyro_ssl import plots
from pyro_ssl.models import M2


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
