"""A fitted classifier as a folder of plain values and arrays, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from pyro_ssl.errors import CheckpointError, PyroSSLError
from pyro_ssl.estimator.as_json import decoded, encoded
from pyro_ssl.estimator.class_members import ClassMembers
from pyro_ssl.estimator.folder import read_folder, write_folder
from pyro_ssl.estimator.inputs import inputs_from_dict
from pyro_ssl.estimator.members import Fold
from pyro_ssl.estimator.reservoir import Reservoir
from pyro_ssl.estimator.stored_decision import (
    decision_decoded,
    decision_encoded,
    table_decoded,
    table_encoded,
)
from pyro_ssl.estimator.stored_models import (
    restored_models,
    restored_parameters,
    stored_model,
    stored_parameters,
)
from pyro_ssl.estimator.stored_supervised import (
    check_before,
    check_restored,
    samples,
    supervised_of,
)
from pyro_ssl.estimator.streams import StreamMethods
from pyro_ssl.estimator.warm_start import state_of
from pyro_ssl.estimator.weighing import Weighing
from pyro_ssl.infer.devices import resolve_device
from pyro_ssl.models.base import PyroModel
from pyro_ssl.versions import environment

Self = TypeVar("Self", bound="StoredMethods")

# Attributes that are plain values, by their names; scikit-learn's among them.
_PLAIN = ("_seed", "n_features_in_", "n_iter_", "termination_condition_", "_n_features_out")
_RESERVOIRS = ("_labelled", "_unlabelled")


class StoredMethods(StreamMethods):
    """What lets a classifier be kept in files; see `SemiSupervisedVAEClassifier`."""

    feature_names_in_: Any

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier to a folder, for `load`, without pickle.

        It holds `model.json`, with the parameters, what the columns hold, and the decision, and
        `weights-XXXXXXXX.npz`, with the models' weights and the rows of which scikit-learn's
        classifiers learn again at `load`: the labelled ones, and up to 10,000 unlabelled ones for
        label spreading. **These rows can be read from it.**
        A kill at any moment leaves the folder's former content or the new one.

        Args:
            path: the folder; one that `save` wrote is replaced.

        Raises:
            ConfigError: naming a classifier or parameter that no file can hold; joblib and pickle
                can.
            ResultsError: if the folder cannot be written, or holds other files.
        """
        check_is_fitted(self)
        check_before(self._weighing, self._again(), self._taught)
        values = {
            "class": type(self).__name__,
            "versions": environment(),
            "parameters": stored_parameters(self),
            "model": stored_model(self.models_),
            "inputs": self.inputs_.to_dict(),
            "columns": [encoded("a column's name", n) for n in self._names()],
            "plain": {name: encoded(name, getattr(self, name)) for name in _PLAIN},
            "classes": encoded("classes_", self.classes_),
            "history": table_encoded(self.history_),
            "decision": decision_encoded(self._weighing.decision),
            "classifiers": {
                name: encoded(f"classifier {name!r}", one.estimator)
                for name, one in supervised_of(self._weighing).items()
            },
            "bayes": self._weighing.bayes,
            "kept": {
                name: [kept.capacity, kept.seed, kept.seen]
                for name in _RESERVOIRS
                if (kept := getattr(self, name)) is not None
            },
        }
        write_folder(Path(path), values, self._arrays())

    @classmethod
    def load(
        cls: type[Self],
        path: str | Path,
        model_class: type[PyroModel] | None = None,
        **objects: Any,
    ) -> Self:
        """Return the classifier that `save` wrote; its predictions are the same to the last bit.

        No code from the folder is run: of the classes that it names only those of scikit-learn are
        imported.

        Args:
            path: the folder.
            model_class: the class of a model that is not the library's.
            objects: networks and other objects among `model_options`, by their names there; their
                weights come from the file.

        Raises:
            CheckpointError: if the folder is missing, damaged, foreign or of a later version, or if
                scikit-learn's classifiers, fitted again, predict something else.
            ConfigError: naming an object that is missing, or is not to be given.
        """
        values, arrays = read_folder(Path(path))
        if values.get("class") != cls.__name__:
            raise CheckpointError(
                f"{path} holds a {values.get('class')}, no {cls.__name__}: load it with that class"
            )
        try:
            return cls._restored(values, arrays, model_class, objects)
        except PyroSSLError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            versions = values.get("versions", {})
            raise CheckpointError(
                f"{path} is damaged, or was written by another version of the library "
                f"({versions.get('version_pyro_ssl')}, commit {versions.get('commit')}): "
                f"{type(error).__name__}: {error}"
            ) from error

    @classmethod
    def _restored(
        cls: type[Self],
        values: dict[str, Any],
        arrays: dict[str, Any],
        model_class: type[PyroModel] | None,
        objects: Mapping[str, Any],
    ) -> Self:
        models = restored_models(values["model"], arrays, model_class, objects, cls.__name__)
        found = cls(**restored_parameters(values["parameters"], models[0], objects))
        for name, value in values["plain"].items():
            if name in _PLAIN:
                setattr(found, name, decoded(value))
        nothing = np.empty(0, dtype=np.int64)
        found.models_, found.model_ = [m.to(_device_of(found)) for m in models], models[0]
        found._members = ClassMembers(models, [Fold(nothing, nothing)] * len(models))
        found.classes_ = decoded(values["classes"])
        found.inputs_ = inputs_from_dict(values["inputs"])
        found.columns_ = found.inputs_.to_frame()
        names = [decoded(n) for n in values["columns"]]
        if names:
            found.feature_names_in_ = np.array(names, dtype=object)
        found.history_ = table_decoded(values["history"])
        found.class_shares_ = arrays["class_shares"]
        found._training_bounds = arrays["training_bounds"]
        found._typical = torch.from_numpy(arrays["typical"])
        taught = (arrays[f"taught/{name}"] for name in ("codes", "weights"))
        found._taught = (torch.from_numpy(arrays["taught/xs"]), *taught)
        found._start = found._unlabelled = None
        for name, (capacity, seed, seen) in values["kept"].items():
            head = f"{name}/"
            columns = {k.removeprefix(head): v for k, v in arrays.items() if k.startswith(head)}
            setattr(found, name, Reservoir(capacity, seed, columns, seen))
        estimators = {name: decoded(e) for name, e in values["classifiers"].items()}
        bayes, decision = values["bayes"], values["decision"]
        found._weighing = Weighing(found._members, found.inputs_, estimators, bayes, found._seed)
        found._weighing.decision = decision_decoded(decision, arrays)
        found._weighing.teach(*found._on_device())
        said = {name: arrays[f"said/{name}"] for name in values["classifiers"]}
        check_restored(found._weighing, found._taught, said, values["versions"])
        return found

    def _again(self) -> Weighing:
        """Return the candidates, the classifiers among them fitted again."""
        old = self._weighing
        given = {name: one.estimator for name, one in supervised_of(old).items()}
        found = Weighing(self._members, self.inputs_, given, old.bayes, self._seed)
        found.teach(*self._on_device())
        return found

    def _on_device(self) -> Any:
        """Return the rows that classifiers learnt from, where the models are."""
        xs, codes, weights = self._taught
        parameter = next(self.model_.parameters())
        return xs.to(parameter.device, parameter.dtype), codes, weights

    def _names(self) -> list[Any]:
        return list(getattr(self, "feature_names_in_", []))

    def _arrays(self) -> dict[str, Any]:
        """Return the arrays of the files, by name."""
        decision = self._weighing.decision
        found: dict[str, Any] = {
            "class_shares": self.class_shares_,
            "training_bounds": self._training_bounds,
            "typical": self._typical.numpy(),
            "decision_weights": decision.weights,
            "taught/xs": self._taught[0].numpy(),
            "taught/codes": self._taught[1],
            "taught/weights": self._taught[2],
        }
        for name, calibration in zip(decision.names, decision.calibrations, strict=True):
            found[f"shares/{name}"] = calibration.shares
        for number, model in enumerate(self.models_):
            for name, tensor in state_of(model).items():
                found[f"model/{number}/{name}"] = _short(tensor.cpu().numpy())
        for name in _RESERVOIRS:
            kept = getattr(self, name)
            columns = {} if kept is None else kept.columns
            found |= {f"{name}/{k}": column for k, column in columns.items()}
        said = samples(self._weighing, self._taught)
        return found | {f"said/{name}": one for name, one in said.items()}


def _device_of(classifier: Any) -> torch.device:
    device = resolve_device(str(classifier.device))
    missing = device.type == "cuda" and not torch.cuda.is_available()
    return torch.device("cpu") if missing else device


def _short(array: Any) -> Any:
    """Return float64 numbers as float32, as they were trained, where that changes none."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    return short if np.array_equal(short, array, equal_nan=True) else array
