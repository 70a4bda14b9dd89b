"""Methods with which classifier and regressor are saved as folders of plain values and arrays."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from pyro_ssl import models
from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.estimator.as_json import decoded, encoded
from pyro_ssl.estimator.checked import RowMethods
from pyro_ssl.estimator.folder import read_folder, write_folder
from pyro_ssl.estimator.inputs import inputs_from_dict
from pyro_ssl.estimator.members import Fold
from pyro_ssl.estimator.stored_decision import table_decoded, table_encoded
from pyro_ssl.estimator.stored_inputs import check_stored_inputs
from pyro_ssl.estimator.stored_models import (
    restored_models,
    restored_parameters,
    stored_model,
    stored_parameters,
)
from pyro_ssl.estimator.stored_supervised import samples, supervised_of
from pyro_ssl.estimator.warm_start import state_of
from pyro_ssl.files import as_path
from pyro_ssl.infer.devices import resolve_device
from pyro_ssl.infer.stored import given_again
from pyro_ssl.models.base import PyroModel
from pyro_ssl.reading import check_kinds, refusing
from pyro_ssl.versions import environment

Self = TypeVar("Self", bound="FolderMethods")

# Attributes that are plain values, and their types, including scikit-learn's.
_PLAIN: dict[str, Any] = {
    "_seed": int,
    "n_features_in_": int,
    "n_iter_": int,
    "termination_condition_": str,
    "_n_features_out": int,
}


class FolderMethods(RowMethods):
    """Methods that save and load an estimator; see `SemiSupervisedVAEClassifier`."""

    # "classifier" or "regressor".
    _kind: ClassVar[str]

    # Set by `fit`.
    feature_names_in_: Any
    columns_: pd.DataFrame
    history_: pd.DataFrame
    _taught: Any
    _training_bounds: Any
    _typical: torch.Tensor
    _weighing: Any

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to a folder, for `load`, without pickle.

        The folder holds `model.json` (the parameters, the content of columns, and the decision) and
        `weights-XXXXXXXX.npz` (the models' weights, and the rows on which scikit-learn's estimators
        are fitted again at `load`: the labelled ones, and up to 10,000 unlabelled ones for label
        spreading). **These rows can be read from it.**
        If the process is killed, the folder has either its former content or the new one.

        Args:
            path: the folder; one that `save` wrote is replaced.

        Raises:
            ConfigError: naming an estimator or parameter that cannot be stored; use joblib or
                pickle for it.
            ResultsError: if the folder cannot be written, or holds other files.
        """
        check_is_fitted(self)
        folder = as_path(path)
        values = {
            "class": type(self).__name__,
            "versions": environment(),
            "parameters": stored_parameters(self),
            "model": stored_model(self.models_),
            "inputs": self.inputs_.to_dict(),
            "columns": [encoded("a column's name", n) for n in self._names()],
            "plain": {name: encoded(name, getattr(self, name)) for name in _PLAIN},
            "history": table_encoded(self.history_),
            f"{self._kind}s": {
                name: encoded(f"candidate {name!r}", one.estimator)
                for name, one in supervised_of(self._weighing).items()
            },
            "bayes": self._weighing.bayes,
            **self._own_values(),
        }
        arrays = {**self._arrays(), **self._own_arrays()}
        write_folder(folder, self._kind, values, arrays, partial(self._check_loads, folder))

    @classmethod
    def load(
        cls: type[Self],
        path: str | Path,
        model_class: type[PyroModel] | None = None,
        **objects: Any,
    ) -> Self:
        """Return the estimator that `save` wrote; its predictions are the same to the last bit.

        No code from the folder is run; of the classes that it names, only those of scikit-learn are
        imported.

        Args:
            path: the folder.
            model_class: the model's class, if it is not one of this library.
            objects: networks and other objects among `model_options`, by their names there; their
                weights come from the file.

        Raises:
            CheckpointError: if the folder is missing, damaged, not ours, or of a later version, or
                if the refitted estimators of scikit-learn give other predictions.
            ConfigError: naming an object that is missing, or that must not be given.
        """
        folder = as_path(path)
        values, arrays = read_folder(folder, cls._kind)
        if values.get("class") != cls.__name__:
            raise CheckpointError(
                f"{path} holds a {values.get('class')}, not a {cls.__name__}: use its class"
            )
        versions = values.get("versions")
        about = versions if isinstance(versions, dict) else {}
        version, commit = about.get("version_pyro_ssl"), about.get("commit")
        with refusing(folder, f", {version} of commit {commit},"):
            return cls._loaded(values, arrays, model_class, objects)

    @classmethod
    def _loaded(
        cls: type[Self],
        values: dict[str, Any],
        arrays: dict[str, Any],
        model_class: type[PyroModel] | None,
        objects: Mapping[str, Any],
    ) -> Self:
        found = cls._restored(values, arrays, model_class, objects)
        found._restore_own(values, arrays)
        # Raised here, not only at the first prediction.
        found._weighing.mix(found._on_device()[0][:1])
        return found

    def _check_loads(self, path: Path, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Check that `load` can restore the estimator from the content to be written.

        Raises:
            ConfigError: giving the reason why it cannot.
        """
        kind = type(self.model_)
        options = {name: self.model_.options[name] for name in given_again(self.model_)}
        own = None if kind.__name__ in models.__all__ else kind
        try:
            with torch.random.fork_rng(devices=[]), refusing(path):
                self._loaded(values, arrays, own, options)
        except CheckpointError as error:
            raise ConfigError(f"what is to be saved could not be loaded: {error}") from error

    @classmethod
    def _restored(
        cls: type[Self],
        values: dict[str, Any],
        arrays: dict[str, Any],
        model_class: type[PyroModel] | None,
        objects: Mapping[str, Any],
    ) -> Self:
        """Return an estimator with everything except what `_restore_own` restores."""
        models = restored_models(values["model"], arrays, model_class, objects, cls.__name__)
        found = cls(**restored_parameters(values["parameters"], models[0], objects))
        plain = {name: decoded(value) for name, value in values["plain"].items()}
        check_kinds(plain, _PLAIN, "the values of fit")
        for name in _PLAIN:
            setattr(found, name, plain[name])
        found.models_, found.model_ = [m.to(_device_of(found)) for m in models], models[0]
        found.inputs_ = inputs_from_dict(values["inputs"])
        found.columns_ = found.inputs_.to_frame()
        names = [decoded(n) for n in values["columns"]]
        xs = torch.from_numpy(arrays["taught/xs"][:2])
        check_stored_inputs(found.inputs_, plain["n_features_in_"], xs, names)
        if names:
            found.feature_names_in_ = np.array(names, dtype=object)
        found.history_ = table_decoded(values["history"])
        found._training_bounds = arrays["training_bounds"]
        found._typical = torch.from_numpy(arrays["typical"])
        return found

    def _restore_own(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Restore members, candidates, and other parts specific to this kind of estimator."""
        raise NotImplementedError

    def _own_values(self) -> dict[str, Any]:
        """Return JSON values specific to this kind of estimator."""
        raise NotImplementedError

    def _own_arrays(self) -> dict[str, Any]:
        """Return arrays specific to this kind of estimator, by name."""
        raise NotImplementedError

    def _no_folds(self) -> list[Fold]:
        """Return folds without rows, for members that will not be trained again."""
        nothing = np.empty(0, dtype=np.int64)
        return [Fold(nothing, nothing)] * len(self.models_)

    def _on_device(self) -> Any:
        """Return the rows that scikit-learn's estimators learnt from, on the models' device."""
        xs, labels, weights = self._taught
        parameter = next(self.model_.parameters())
        return xs.to(parameter.device, parameter.dtype), labels, weights

    def _names(self) -> list[Any]:
        return list(getattr(self, "feature_names_in_", []))

    def _arrays(self) -> dict[str, Any]:
        """Return the arrays that every kind of estimator stores, by name."""
        found: dict[str, Any] = {
            "training_bounds": self._training_bounds,
            "typical": self._typical.numpy(),
            "decision_weights": self._weighing.decision.weights,
            "taught/xs": self._taught[0].numpy(),
            "taught/weights": self._taught[2],
        }
        for number, model in enumerate(self.models_):
            for name, tensor in state_of(model).items():
                found[f"model/{number}/{name}"] = _short(tensor.cpu().numpy())
        said = samples(self._weighing, self._taught)
        return found | {f"said/{name}": one for name, one in said.items()}


def _device_of(estimator: Any) -> torch.device:
    device = resolve_device(str(estimator.device))
    missing = device.type == "cuda" and not torch.cuda.is_available()
    return torch.device("cpu") if missing else device


def _short(array: Any) -> Any:
    """Return float64 numbers as float32, as they were trained, if no number changes."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    return short if np.array_equal(short, array, equal_nan=True) else array
