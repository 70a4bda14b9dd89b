"""What callbacks of `fit` are told, and how they stop it."""

from dataclasses import dataclass, field

from pyro_ssl.models.base import PyroModel

Row = dict[str, float]


@dataclass
class Progress:
    """How far a run has come; the one argument of `on_epoch` and `on_step`.

    Attributes:
        model: the model in training.
        rows: the history so far, one dict for each whole epoch, see `History`.
        epoch: whole epochs made, those before a resume among them.
        step: steps made, likewise.
        stopped: whether `stop` was called.
    """

    model: PyroModel
    rows: list[Row] = field(default_factory=list)
    epoch: int = 0
    step: int = 0
    stopped: bool = False

    def stop(self) -> None:
        """End the run after the present epoch, which is validated and saved like any other.

        A callback that cannot wait for it raises an error of its own, which `fit` passes on.
        """
        self.stopped = True
