from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pyro_ssl import plots


def test_markers_differ_for_up_to_56_classes():
    assert len(set(plots.class_markers(56))) == 56
    found = plots.class_markers(57)
    assert found[56] == found[0]
    for one, next_ in pairwise(found):
        assert one.colour != next_.colour
        assert one.shape != next_.shape


def test_the_course_of_training_has_a_line_where_the_step_size_falls():
    history = pd.DataFrame(
        {
            "step": [100, 200, 300, 400, 500],
            "loss": [900.0, 12.0, 11.0, 10.5, 10.4],
            "measure": [-1000.0, -8.0, -7.0, -6.5, -6.4],
        }
    )
    loss, measure = plots.training_course(history, 400).axes
    for axes, column in ((loss, "loss"), (measure, "measure")):
        assert list(axes.lines[0].get_ydata()) == history[column].tolist()
        assert list(axes.lines[1].get_xdata()) == [400, 400]
        # The far-off first value does not set the scale.
        low, high = axes.get_ylim()
        assert high - low < 3
        assert low < history[column][1:].min() <= history[column][1:].max() < high
    (alone,) = plots.training_course(history.assign(measure=np.nan), None).axes
    assert len(alone.lines) == 1


def test_the_latent_map_draws_each_row_as_its_class():
    points = np.arange(10.0).reshape(5, 2)
    codes = np.array([1, -1, 0, 1, -1])
    (axes,) = plots.latent_map(points, codes, 3).axes
    unknown, *known = axes.lines
    np.testing.assert_array_equal(np.c_[unknown.get_data()], points[codes < 0])
    for code, (line, marker) in enumerate(zip(known, plots.class_markers(3), strict=True)):
        np.testing.assert_array_equal(np.c_[line.get_data()], points[codes == code])
        assert (to_hex(line.get_color()).upper(), line.get_marker()) == marker


def test_far_bounds_are_drawn_in_the_first_bar():
    bounds = np.r_[-1e6, -50.0, np.linspace(-3, -1, 100)]
    (axes,) = plots.bound_distribution(bounds, -2.9, -2.0).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == 102
    assert heights[0] == 2
    assert axes.get_xlim()[0] > -6
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([-2.0, -2.9])


def test_signals_are_drawn_with_their_reconstructions():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(2, 3, 2, 7))
    for axes, signal, found in zip(plots.signal_reconstructions(*pairs).axes, *pairs, strict=True):
        assert list(axes.lines[0].get_ydata()) == signal[0].tolist()
        assert list(axes.lines[1].get_ydata()) == found[0].tolist()
