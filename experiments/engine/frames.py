"""Pictures of a model as it learns."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from pyro_ssl.errors import CheckpointError
from pyro_ssl.files import read_state, write_state

_FRAMES = 30


class Frames:
    """Pictures of a model as it learns, kept on disk for runs that are resumed.

    Args:
        path: file of the pictures.
        epochs: number of epochs of the run; about thirty pictures are kept, more of early epochs.
        picture: returns the picture to keep.
    """

    def __init__(self, path: Path, epochs: int, picture: Callable[[], Tensor]) -> None:
        self.path, self.picture = path, picture
        self.wanted = {0, *np.geomspace(1, epochs, _FRAMES).round().astype(int).tolist()}
        self.kept: dict[int, Tensor] = {}
        with suppress(CheckpointError):
            self.kept = read_state(path)

    def __call__(self, epoch: int) -> None:
        """Keep the picture after epoch `epoch`, if it is one of those to keep."""
        if epoch == 0:
            self.kept = {}
        if epoch in self.wanted:
            self.kept[epoch] = self.picture()
            write_state(self.kept, self.path)

    def forget(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
