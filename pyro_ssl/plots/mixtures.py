"""Mixtures in the plane, with components that an encoder distinguishes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BitMixtureState:
    """A `BitMixture` at one moment of its training.

    Attributes:
        title: title of its panel.
        centres: means of the components `[K, 2]`.
        probabilities: probability of each component for some points, `[N, K]`.
    """

    title: str
    centres: Tensor
    probabilities: Tensor


def bit_mixtures(points: Tensor, states: Sequence[BitMixtureState], start: Tensor) -> Figure:
    """Draw points in the colours of their most probable components, a panel for each state.

    A cross marks each centre, and a line connects it with its initial place.

    Args:
        points: points of the plane `[N, 2]`.
        states: states of the mixture.
        start: initial centres `[K, 2]`.
    """
    figure = Figure(figsize=(4.2 * len(states), 4.1), layout="constrained")
    palette = colormaps["Set1"](range(states[0].probabilities.shape[1]))[:, :3]
    for axes, state in zip(figure.subplots(1, len(states), squeeze=False)[0], states, strict=True):
        mixed = (state.probabilities.numpy() @ palette).clip(0, 1)
        axes.scatter(*points.T.numpy(), c=mixed, s=5, linewidths=0, alpha=0.8)
        for k, (old, new) in enumerate(zip(start.tolist(), state.centres.tolist(), strict=True)):
            axes.plot(*zip(old, new, strict=True), color="black", linewidth=1)
            axes.plot(*new, "X", color=palette[k], markeredgecolor="black", markersize=10)
            axes.annotate(f"{k:02b}", new, textcoords="offset points", xytext=(7, 5))
        axes.set(title=state.title, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
        axes.set(xlim=(-4.5, 4.5), ylim=(-3.8, 3.8))
    return figure


def approximation_errors(traces: Mapping[str, "pd.DataFrame"]) -> Figure:
    """Draw ELBO and evidence, their difference, and the drift of the centres over the steps.

    Args:
        traces: by encoder, one row for each step with the columns `step`, `stage`, `elbo`,
            `evidence`, `kl_posterior` (nats per point) and `drift` (in the unit of x).
    """
    figure = Figure(figsize=(12.5, 3.6), layout="constrained")
    bounds, divergence, drift = figure.subplots(1, 3)
    for number, (name, frame) in enumerate(traces.items()):
        steps, colour = frame["step"], f"C{number}"
        bounds.plot(steps, frame["elbo"], color=colour, label=f"{name} encoder: ELBO")
        bounds.plot(steps, frame["evidence"], color=colour, ls="--", label=f"{name}: evidence")
        divergence.plot(steps, frame["kl_posterior"], color=colour, label=f"{name} encoder")
        drift.plot(steps, frame["drift"], color=colour, label=f"{name} encoder")
        last = (frame["stage"] == "encoder").sum()
        for axes in (bounds, divergence, drift):
            axes.axvline(last, color="0.6", linestyle=":", linewidth=1)
    bounds.set(title="bounds", ylabel="nats a point")
    # The first steps of the encoder are far below all later ones.
    values = [frame[c].iloc[len(frame) // 10 :] for frame in traces.values() for c in _BOUNDS]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    bounds.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    divergence.set(title="KL(q(z|x) || p(z|x))", ylabel="nats a point", ylim=(0, 3 * (high - low)))
    drift.set(title="drift of the centres", ylabel="root of the mean square, units of x")
    for axes in (bounds, divergence, drift):
        axes.set(xlabel="step; joint training from the dotted line on")
        axes.legend(frameon=False, fontsize="small")
        axes.grid(alpha=0.3)
    return figure


_BOUNDS = ("elbo", "evidence")
