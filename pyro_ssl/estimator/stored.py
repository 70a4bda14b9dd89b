"""A fitted classifier as a folder of plain values and arrays, and back."""

from typing import Any

import torch

from pyro_ssl.errors import CheckpointError
from pyro_ssl.estimator.as_json import decoded, encoded
from pyro_ssl.estimator.class_members import ClassMembers
from pyro_ssl.estimator.folder_methods import FolderMethods
from pyro_ssl.estimator.reservoir import Reservoir
from pyro_ssl.estimator.stored_decision import decision_decoded, decision_encoded
from pyro_ssl.estimator.stored_supervised import check_restored
from pyro_ssl.estimator.streams import StreamMethods
from pyro_ssl.estimator.weighing import Weighing

_RESERVOIRS = ("_labelled", "_unlabelled")


class StoredMethods(FolderMethods, StreamMethods):
    """Methods that save and load a classifier; see `SemiSupervisedVAEClassifier`."""

    _kind = "classifier"

    def _own_values(self) -> dict[str, Any]:
        return {
            "classes": encoded("classes_", self.classes_),
            "decision": decision_encoded(self._weighing.decision),
            "kept": {
                name: [kept.capacity, kept.seed, kept.seen]
                for name in _RESERVOIRS
                if (kept := getattr(self, name)) is not None
            },
        }

    def _own_arrays(self) -> dict[str, Any]:
        decision = self._weighing.decision
        found: dict[str, Any] = {
            "class_shares": self.class_shares_,
            "taught/codes": self._taught[1],
        }
        for name, calibration in zip(decision.names, decision.calibrations, strict=True):
            found[f"shares/{name}"] = calibration.shares
        for name in _RESERVOIRS:
            kept = getattr(self, name)
            columns = {} if kept is None else kept.columns
            found |= {f"{name}/{k}": column for k, column in columns.items()}
        return found

    def _restore_own(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        self._members = ClassMembers(self.models_, self._no_folds())
        self.classes_ = decoded(values["classes"])
        if len(self.classes_) != self.model_.num_classes:
            raise CheckpointError(
                f"there are {len(self.classes_)} classes, but the model has "
                f"{self.model_.num_classes}"
            )
        self.class_shares_ = arrays["class_shares"]
        taught = (arrays[f"taught/{name}"] for name in ("codes", "weights"))
        self._taught = (torch.from_numpy(arrays["taught/xs"]), *taught)
        self._start = self._unlabelled = None
        for name, (capacity, seed, seen) in values["kept"].items():
            head = f"{name}/"
            columns = {k.removeprefix(head): v for k, v in arrays.items() if k.startswith(head)}
            setattr(self, name, Reservoir(capacity, seed, columns, seen))
        estimators = {name: decoded(e) for name, e in values["classifiers"].items()}
        self._weighing = self._weighing_of(estimators, values["bayes"])
        self._weighing.decision = decision_decoded(values["decision"], arrays)
        self._weighing.teach(*self._on_device())
        said = {name: arrays[f"said/{name}"] for name in values["classifiers"]}
        check_restored(self._weighing, self._taught, said, values["versions"])

    def _weighing_of(self, classifiers: dict[str, Any], bayes: bool) -> Weighing:
        return Weighing(self._members, self.inputs_, classifiers, bayes, self._seed)
