"""The argument of callbacks of `fit`, with which they can stop the run."""

from dataclasses import dataclass, field

from pyro_ssl.models.base import PyroModel

Row = dict[str, float]


@dataclass
class Progress:
    """The progress of a run; the only argument of `on_epoch` and `on_step`.

    Attributes:
        model: the model in training.
        rows: the history so far, one dict for each whole epoch, see `History`.
        epoch: number of whole epochs made, including those before a resume.
        step: number of steps made, including those before a resume.
        stopped: whether `stop` was called.
    """

    model: PyroModel
    rows: list[Row] = field(default_factory=list)
    epoch: int = 0
    step: int = 0
    stopped: bool = False

    def stop(self) -> None:
        """End the run after the present epoch, which is validated and saved like any other.

        To stop the run at once, a callback can raise an error, which `fit` does not catch.
        """
        self.stopped = True
