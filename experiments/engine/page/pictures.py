"""Pictures of the page: reduced copies of runs' figures, and curves of their histories."""

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from experiments.engine.figures import FIGURES
from experiments.engine.results import display_name
from pyro_ssl import plots
from pyro_ssl.errors import ResultsError
from pyro_ssl.report.markup import Html, element, embedded, joined, picture, scrolling
from pyro_ssl.results import load_results

# Descriptions of figures, by name, for people who cannot see them.
SHOWS = {
    "analogies": "Rows of images: an input on the left, then its style in each class.",
    "samples": "Grid of images drawn from the model, a row for each class.",
    "manifolds": "For each class a grid of images that change with the two latents.",
    "manifold": "Grid of images that change with the two latents, from digit to digit.",
    "posterior": "Points of the test set in two latent dimensions, coloured by class.",
    "reliability": "Accuracy against confidence, beside the diagonal of perfect calibration, and "
    "how many rows have which confidence.",
    "learning_curves": "Curves over epochs: bound, divergences, classification term, validation.",
    "class_swaps": "Rows of images: an input, then it with the latents of each class in turn.",
    "characteristic_walks": "Rows of images in which one class latent at a time changes.",
    "interventions": "Rows of images: an input, then it with each attribute changed in turn.",
    "reconstructions": "Two rows of images: inputs, and below them their reconstructions.",
    "bottleneck": "Points in the plane, the curve that each model's latent draws through them, and "
    "the density of its codes.",
    "both_encoders": "Curves over steps of ELBO, evidence and drift, for both encoders.",
    "posteriors": "Points in the plane coloured by their code, before and after joint training.",
    "elbo_and_distance": "Curves over steps: the ELBO, and how far samples and reconstructions are "
    "from the generator's images.",
    "generator": "Grid of images drawn from the fixed generator.",
    "joint": "Grid of images drawn from the generator after joint training.",
    "joint_over_time": "Grid of images: the same ten latents, a row for each time.",
}
# Captions of figures whose titles do not suffice.
_SAID = {
    "generator": "Samples of the generator before joint training: ",
    "joint": "Samples of the generator after joint training: ",
}
# Width in pixels to which wide pictures are scaled, their number of colours, and what is wide.
_WIDTH, _COLOURS, _WIDE = 900, 256, 1.5
_COMPARED = {
    "validation_accuracy": (
        plots.validation_accuracy,
        "Curves of validation accuracy over epochs, one for each model.",
    ),
    "validation_elbo": (
        plots.losses,
        "Curves of the negative ELBO over epochs, one for each model, training and validation.",
    ),
    "unlabelled_kl_z": (
        plots.kl_by_site,
        "Curves of the divergence of each latent over epochs, one for each model.",
    ),
}


def small_png(file: Path) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as a small PNG of few colours, and its size."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
        if image.width > _WIDTH:
            height = round(image.height * _WIDTH / image.width)
            image = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        fast = Image.Quantize.FASTOCTREE
        image.quantize(_COLOURS, fast, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
        return buffer.getvalue(), image.size


def left_by_runs(root: Path, name: str, preferred: Sequence[str], most: int = 2) -> Html:
    """Return the figures of runs with a name, and the command that draws each again.

    Args:
        root: folder of the results.
        name: end of the files' names.
        preferred: folders of runs to search first; if none has such a figure, all others.
        most: largest number of figures.
    """
    found = [file for run in preferred if (file := _first(root / run, name))]
    if not found:
        folders = sorted({file.parent for file in root.glob(f"*/*/seed_*_{name}.png")})
        found = [file for folder in folders if (file := _first(folder, name))]
    return joined(_left(root, file, name) for file in found[:most])


def _first(folder: Path, name: str) -> Path | None:
    """Return the figure of the lowest seed."""
    named = re.compile(rf"seed_(\d+)_{name}\.png")
    files = {int(m[1]): file for file in folder.glob("*.png") if (m := named.fullmatch(file.name))}
    return files[min(files)] if files else None


def _left(root: Path, file: Path, name: str) -> Html:
    run = file.parent.relative_to(root).as_posix()
    seed = file.name.split("_")[1]
    caption = [_SAID.get(name, ""), f"{run}, seed {seed}. "]
    if name in FIGURES:
        checkpoint = f"{root.as_posix()}/{run}/seed_{seed}.pt"
        again = f"python -m experiments.draw {checkpoint} --figure {name}"
        caption += ["Drawn again by ", element("code", again)]
    try:
        content, size = small_png(file)
    except (OSError, ValueError) as error:
        warnings.warn(f"{file} is left out: {error}", stacklevel=2)
        return Html("")
    shown = embedded(content, "png", size, f"{SHOWS[name]} {run}.", joined(caption))
    return scrolling(shown, f"{name} of {run}") if size[0] > _WIDE * size[1] else shown


def curves(root: Path, results: pd.DataFrame, experiment: str, column: str) -> Html:
    """Return the curves of an experiment's models over epochs, for its fewest labels.

    Args:
        root: folder of the results.
        results: final figures, as returned by `load_summary`.
        experiment: name of the experiment.
        column: the column to compare, a name of `_COMPARED`.
    """
    runs = results[results["experiment"] == experiment]
    if runs.empty:
        return Html("")
    runs = runs[runs["dataset"] == runs["dataset"].iloc[0]]
    # Tagged runs are variations, some with bounds in other units.
    runs = runs[runs["tag"] == ""] if (runs["tag"] == "").any() else runs
    if runs["labels"].notna().any():
        runs = runs[runs["labels"] == runs["labels"].min()]
    frames: dict[str, list[pd.DataFrame]] = {}
    for run in runs["run"].unique():
        rows = _rows(root / run)
        if column in rows and "epoch" in rows:
            name = f"{display_name(rows['model'].iloc[0])} {rows['tag'].iloc[0]}".rstrip()
            frames[name] = [seed for _, seed in rows.groupby("seed")]
    draw, alt = _COMPARED[column]
    if not frames:
        return Html("")
    labels = runs["labels"].iloc[0]
    title = f"{experiment}, {runs['dataset'].iloc[0]}"
    title += "" if pd.isna(labels) else f", {labels} labels"
    return broad(draw(frames, title), f"{alt} {title}.", f"{title}.")


def broad(figure: Figure, alt: str, caption: str) -> Html:
    """Return a line drawing that keeps its size on narrow screens, in a box that scrolls."""
    return scrolling(picture(figure, alt, caption), caption)


def _rows(folder: Path) -> pd.DataFrame:
    try:
        return load_results(folder)
    except ResultsError:
        return pd.DataFrame()
