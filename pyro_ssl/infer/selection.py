"""Which epoch is the best one, and whether a run has waited long enough for a better one."""

from typing import Any

from pyro_ssl.data.ssl_data import SSLData
from pyro_ssl.elbos import names
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.config import FitConfig
from pyro_ssl.infer.progress import Progress
from pyro_ssl.metrics.bounds import check_has_joint_bound
from pyro_ssl.models.base import PyroModel, SSLModel

# Measures of a model that does not classify, in order of preference.
_OBJECTIVES = (names.ELBO, names.log_prob("x"))
# Measures for each `FitConfig.select`: the first that a row has selects the best epoch.
MEASURES = {
    select: tuple(names.reported(m, names.VALIDATION) for m in (*measures, *_OBJECTIVES))
    for select, measures in (
        ("accuracy", ("accuracy", names.LOG_Q_Y)),
        ("bound", (names.JOINT_BOUND,)),
    )
}


def check_selection(model: PyroModel, data: SSLData, config: FitConfig) -> None:
    """Check that the options' way to choose the best epoch of a run is possible.

    Raises:
        ConfigError: if `patience` has no validation rows, or `select` no bound.
    """
    if config.patience is not None and not len(data.validation_xs):
        raise ConfigError(f"patience is {config.patience}, but there are no validation rows")
    if config.select == "bound" and (isinstance(model, SSLModel) or data.real_labels):
        check_has_joint_bound(model)


def better(
    progress: Progress, config: FitConfig, best: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return the last epoch, with the model's weights, if it is better than `best`, else `best`.

    Args:
        progress: the run after an epoch.
        config: options of training.
        best: the best epoch before, as returned by this function; None if there is none.
    """
    row = progress.rows[-1]
    measure = next((m for m in MEASURES[config.select] if m in row), None)
    if measure is None or (best is not None and row[measure] <= best["value"]):
        return best
    weights = {k: v.clone() for k, v in progress.model.state_dict().items()}
    return {
        "epoch": int(row["epoch"]),
        "measure": measure,
        "value": row[measure],
        "model": weights,
    }


def out_of_patience(progress: Progress, config: FitConfig, best: dict[str, Any] | None) -> bool:
    """Return whether a run ends because it has waited `patience` epochs for a better one."""
    if config.patience is None or best is None or progress.step < (config.min_steps or 0):
        return False
    return progress.epoch > best["epoch"] + config.patience
