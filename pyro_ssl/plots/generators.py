"""The effect of joint training on a generator."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    import pandas as pd


def elbo_and_distance(frame: "pd.DataFrame", floor: float) -> Figure:
    """Draw the ELBO and the Frechet distance of samples over the steps of joint training.

    Args:
        frame: one row for each measurement, with columns `step`, `elbo` (nats per image), `frechet`
            (of samples) and `frechet_reconstructions`.
        floor: distance between two sets of images from the same generator.
    """
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    bound, distance = figure.subplots(1, 2)
    bound.plot(frame["step"], frame["elbo"], marker="o", markersize=3)
    bound.set(title="ELBO on the fixed generator's images", ylabel="nats an image")
    for column, label in (("frechet", "samples"), ("frechet_reconstructions", "reconstructions")):
        distance.plot(frame["step"], frame[column], marker="o", markersize=3, label=label)
    distance.axhline(floor, color="0.5", linestyle=":", label="the fixed generator, drawn again")
    distance.set(title="Frechet distance from the fixed generator's images", yscale="log")
    distance.legend(frameon=False, fontsize="small")
    for axes in (bound, distance):
        axes.set_xlabel("step of joint training")
        axes.grid(alpha=0.3)
    return figure
