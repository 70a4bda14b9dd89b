"""The errors that this library raises on purpose, all derived from `PyroSSLError`."""


class PyroSSLError(Exception):
    """Base of every error raised on purpose; its text names the cause and a remedy."""


class DataError(PyroSSLError, ValueError):
    """Arrays, labels, splits or data files that are invalid."""


class ConfigError(PyroSSLError, ValueError):
    """An option, or a combination of options, that is invalid."""


class ObjectiveError(PyroSSLError):
    """An ELBO that would compute another objective than that of its programs."""


class CheckpointError(PyroSSLError):
    """A checkpoint that is truncated, not ours, or of another configuration."""


class ResultsError(PyroSSLError):
    """A results folder that cannot be written or holds another configuration's results."""


class WorkerError(PyroSSLError):
    """A worker process ended before its task was done, perhaps for lack of memory."""


class NonFiniteError(PyroSSLError, ArithmeticError):
    """The loss or its gradient stopped being finite.

    Attributes:
        site: name of the first Pyro site, or parameter gradient, that was not finite; `loss` if a
            replay of the epoch did not reproduce the error.
        epoch: zero-based epoch of the error.
        step: zero-based step within that epoch; -1 if a replay did not reproduce the error.
    """

    def __init__(self, message: str, site: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.site = site
        self.epoch = epoch
        self.step = step

    def __reduce__(self) -> tuple[type, tuple[str, str, int, int]]:
        """Allow pickling, so that a worker process can send the error."""
        return type(self), (str(self), self.site, self.epoch, self.step)


def one_line(error: BaseException) -> str:
    """Return an error's text as one line, or the name of its class if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
