"""Callbacks of `fit` that log a run to TensorBoard or MLflow.

Both are optional: `pip install 'pyro_ssl[tensorboard]'` or `'pyro_ssl[mlflow]'`. A logger for
another tool is a subclass of `EpochLogger` with two methods.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyro_ssl.elbos import names
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.checkpoint import own_random_state
from pyro_ssl.infer.progress import Progress, Row
from pyro_ssl.models import CCVAE, M1M2, M2, VAE, Autoencoder, PyroModel
from pyro_ssl.option_kinds import Natural
from pyro_ssl.options import checked

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Number of images for a model without classes.
_DRAWS = 100


def draw_samples(model: PyroModel) -> "Figure | None":
    """Draw samples of p(x), a row for each class; None if the model generates no images."""
    from pyro_ssl import plots

    shape = model.input_shape
    colours = len(shape) == 3 and shape[0] in (1, 3)
    if not colours and not (len(shape) == 2 and model.likelihood.takes_pixels):
        return None
    if isinstance(model, M2 | M1M2 | CCVAE):
        return plots.class_samples(model)
    if isinstance(model, VAE) and not isinstance(model, Autoencoder):
        return plots.image_grid(model.sample(_DRAWS), 10, "samples from p(x)")
    return None


class EpochLogger(ABC):
    """Logs each epoch's figures, and every few epochs a picture, as `fit(on_epoch=...)`.

    Pictures have their own random state, the same in each epoch. A run is therefore the same with
    and without a logger, and pictures differ only by what the model has learnt. The step of an
    entry is the number of whole epochs made, from 1. If a log begins with a resumed run, it gets
    the earlier epochs too.

    Args:
        options: options of the run to log at its beginning, such as `dataclasses.asdict(config)`.
        every: number of epochs between pictures, the first after the first epoch; 0 for none.
        draw: returns the picture of a model, or None.

    Raises:
        ConfigError: if the required package is not installed, or `every` is below 0.
    """

    @checked
    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        every: Natural = 5,
        draw: Callable[[PyroModel], Any] = draw_samples,
    ) -> None:
        self.options, self.every, self.draw = dict(options or {}), every, draw
        self._begun = False

    def __call__(self, progress: Progress) -> None:
        """Log the last epoch; on the first call also earlier ones, unless the log has them."""
        rows = progress.rows[-1:]
        if not self._begun:
            rows = rows if self.begin(progress.epoch) else progress.rows
            self._begun = True
        for epoch, row in enumerate(rows, progress.epoch - len(rows) + 1):
            self.figures({_tag(k): v for k, v in row.items() if k != "epoch"}, epoch)
        if self.every and (progress.epoch == 1 or progress.epoch % self.every == 0):
            with own_random_state(0, next(progress.model.parameters()).device):
                figure = self.draw(progress.model)
            if figure is not None:
                self.picture(_pixels(figure), progress.epoch)

    def begin(self, epoch: int) -> bool:
        """Open the log after the epoch `epoch`; return whether it has the epochs before it."""
        return False

    @abstractmethod
    def figures(self, row: Row, epoch: int) -> None:
        """Log an epoch's figures under names such as `unlabelled/elbo` and `training/loss`."""

    @abstractmethod
    def picture(self, pixels: "NDArray[np.uint8]", epoch: int) -> None:
        """Log a picture, `[H, W, 3]`."""

    def close(self, failed: bool = False) -> None:  # noqa: B027 - there may be nothing to do
        """Write what is left, and log whether the run failed; a `with` statement calls this."""

    def __enter__(self) -> "EpochLogger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(failed=kind is not None)


class TensorBoardLogger(EpochLogger):
    """Writes event files for TensorBoard.

    Close it at the end of a run, for example by `with`::

        with TensorBoardLogger("runs/first") as log:
            fit(model, data, config, on_epoch=log)

    In a folder that already has event files, new ones are added. If epochs are run again, after a
    kill or from the start, their new entries hide the old ones.

    Args:
        folder: folder for the run's event files; `tensorboard --logdir` shows all runs below it.
        others: the other arguments of `EpochLogger`.
    """

    @checked
    def __init__(self, folder: str | Path, **others: Any) -> None:
        super().__init__(**others)
        self.folder = Path(folder)
        self._writer_class = _needed("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._writer: Any = None

    def begin(self, epoch: int) -> bool:
        """Open the event file, see `EpochLogger`."""
        known = any(self.folder.glob("events.out.tfevents.*"))
        self._writer = self._writer_class(str(self.folder), purge_step=epoch if known else None)
        lines = [f"| {name} | {value} |" for name, value in self.options.items()]
        if lines and not (known and epoch > 1):
            table = "\n".join(["| option | value |", "| --- | --- |", *lines])
            self._writer.add_text("options", table, 0)
        return known

    def figures(self, row: Row, epoch: int) -> None:
        """Log an epoch's figures as scalars."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def picture(self, pixels: "NDArray[np.uint8]", epoch: int) -> None:
        """Log a picture, `[H, W, 3]`."""
        self._writer.add_image("samples", pixels, epoch, dataformats="HWC")
        self._writer.flush()

    def close(self, failed: bool = False) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class MLflowLogger(EpochLogger):
    """Makes a new MLflow run for each training run; used like `TensorBoardLogger`.

    Args:
        experiment: name of MLflow's experiment, created if necessary.
        run_name: name of the run; MLflow chooses one if None.
        tracking_uri: address of the tracking server; None for that in MLFLOW_TRACKING_URI.
        others: the other arguments of `EpochLogger`.
    """

    @checked
    def __init__(
        self,
        experiment: str = "pyro_ssl",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        mlflow = _needed("mlflow", "mlflow")
        try:
            self._client = mlflow.MlflowClient(tracking_uri)
        except mlflow.exceptions.MlflowException as error:
            raise ConfigError(f"MLflow has nowhere to log to: {error}") from error
        self._metric = import_module("mlflow.entities").Metric
        self.experiment, self.run_name = experiment, run_name
        self.run_id: str | None = None

    def begin(self, epoch: int) -> bool:
        """Create the run, and log the options as its parameters."""
        found = self._client.get_experiment_by_name(self.experiment)
        number = (
            self._client.create_experiment(self.experiment)
            if found is None
            else found.experiment_id
        )
        self.run_id = self._client.create_run(number, run_name=self.run_name).info.run_id
        for name, value in self.options.items():
            self._client.log_param(self.run_id, name, value)
        return False

    def figures(self, row: Row, epoch: int) -> None:
        """Log an epoch's figures as metrics."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, epoch) for name, value in row.items()]
        self._client.log_batch(self.run_id, metrics)

    def picture(self, pixels: "NDArray[np.uint8]", epoch: int) -> None:
        """Log a picture, `[H, W, 3]`."""
        self._client.log_image(self.run_id, pixels, key="samples", step=epoch)

    def close(self, failed: bool = False) -> None:
        """End the run."""
        if self.run_id is not None:
            self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def _tag(name: str) -> str:
    """Return a figure's name in the log, after the kind of rows that it is about."""
    for kind in (*names.KINDS, names.VALIDATION):
        if name.startswith(f"{kind}_"):
            return f"{kind}/{name.removeprefix(f'{kind}_')}"
    return f"training/{name}"


def _pixels(figure: "Figure") -> "NDArray[np.uint8]":
    """Return a Matplotlib figure as pixels, `[H, W, 3]`."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _needed(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{extra} cannot be imported ({error}): install it by pip install "
            f"'pyro_ssl[{extra}]', or train without its logger"
        ) from error
