"""A series of figures as an animated GIF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


def save_animation(frames: Sequence[Figure], path: Path, milliseconds: int = 200) -> None:
    """Write figures of one size as a GIF that loops and shows its last frame longer.

    Args:
        frames: the figures.
        path: the file to write.
        milliseconds: time for which a frame is shown; the last one is shown ten times as long.
    """
    images = []
    for figure in frames:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        images.append(picture.quantize(64))
    durations = [milliseconds] * (len(images) - 1) + [10 * milliseconds]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)
