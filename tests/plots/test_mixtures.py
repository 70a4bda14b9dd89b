import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps

from pyro_ssl import plots

STARTS = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])


def test_points_have_the_colours_of_their_probable_components():
    points = torch.tensor([[-1.0, 0.5], [1.0, 0.5], [0.0, 0.5]])
    probabilities = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    moved = STARTS + torch.tensor([[0.0, 0.5], [0.0, -0.5]])
    states = [
        plots.BitMixtureState("before", STARTS, probabilities),
        plots.BitMixtureState("after", moved, probabilities),
    ]
    before, after = plots.bit_mixtures(points, states, STARTS).axes
    assert [before.get_title(), after.get_title()] == ["before", "after"]
    first, second = colormaps["Set1"]([0, 1])[:, :3]
    colours = before.collections[0].get_facecolors()[:, :3]
    np.testing.assert_allclose(colours, [first, second, (first + second) / 2], atol=1e-6)
    # A line from where the first centre was to where it is, and a cross there.
    assert after.lines[0].get_xydata().tolist() == [[-1.0, 0.0], [-1.0, 0.5]]
    assert after.lines[1].get_xydata().tolist() == [[-1.0, 0.5]]


def test_every_step_of_every_encoder_is_drawn():
    steps = np.arange(1, 21)
    frames = {
        name: pd.DataFrame(
            {
                "step": steps,
                "stage": ["encoder"] * 5 + ["joint"] * 15,
                "elbo": -3 - shift / steps,
                "evidence": -3.0,
                "kl_posterior": shift / steps,
                "drift": shift * steps,
            }
        )
        for name, shift in (("factorised", 0.5), ("full", 0.1))
    }
    figure = plots.approximation_errors(frames)
    for axes, columns in zip(
        figure.axes, (["elbo", "evidence"], ["kl_posterior"], ["drift"]), strict=True
    ):
        drawn = [line.get_xydata() for line in axes.lines]
        for frame in frames.values():
            for column in columns:
                expected = frame[["step", column]].to_numpy()
                assert any(np.array_equal(expected, data) for data in drawn)
        # Where the decoder begins to learn.
        assert any((data[:, 0] == 5).all() for data in drawn)
