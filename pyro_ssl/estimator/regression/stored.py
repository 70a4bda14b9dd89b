"""A fitted regressor as a folder of plain values and arrays, and back."""

from dataclasses import asdict
from typing import Any

import torch

from pyro_ssl.estimator.as_json import decoded
from pyro_ssl.estimator.folder_methods import FolderMethods
from pyro_ssl.estimator.regression.learning import RegressionMethods
from pyro_ssl.estimator.regression.members import RegressionMembers
from pyro_ssl.estimator.regression.stacking import Stack
from pyro_ssl.estimator.regression.targets import Scaling
from pyro_ssl.estimator.regression.weighing import RegressionWeighing
from pyro_ssl.estimator.stored_decision import table_decoded, table_encoded
from pyro_ssl.estimator.stored_supervised import check_restored
from pyro_ssl.reading import check_positive


class StoredRegressionMethods(FolderMethods, RegressionMethods):
    """Methods that save and load a regressor; see `SemiSupervisedVAERegressor`."""

    _kind = "regressor"

    def _own_values(self) -> dict[str, Any]:
        decision = self._weighing.decision
        return {
            "scaling": asdict(self.scaling_),
            "decision": {
                "names": list(decision.names),
                "scale": decision.scale,
                "table": table_encoded(decision.table),
            },
        }

    def _own_arrays(self) -> dict[str, Any]:
        return {"taught/ys": self._taught[1], "decision_scales": self._weighing.decision.scales}

    def _restore_own(self, values: dict[str, Any], arrays: dict[str, Any]) -> None:
        self._members = RegressionMembers(self.models_, self._no_folds())
        self.scaling_ = Scaling(**values["scaling"])
        check_positive(self.scaling_.deviation, "the deviation of the labels")
        xs = torch.from_numpy(arrays["taught/xs"])
        self._taught = xs, arrays["taught/ys"], arrays["taught/weights"]
        estimators = {name: decoded(e) for name, e in values["regressors"].items()}
        self._weighing = self._weighing_of(estimators, values["bayes"])
        decision = values["decision"]
        self._weighing.decision = Stack(
            tuple(decision["names"]),
            arrays["decision_scales"],
            arrays["decision_weights"],
            check_positive(decision["scale"], "the decision's scale"),
            table_decoded(decision["table"]),
        )
        self._weighing.teach(*self._on_device())
        said = {name: arrays[f"said/{name}"] for name in values["regressors"]}
        check_restored(self._weighing, self._taught, said, values["versions"])

    def _weighing_of(self, regressors: dict[str, Any], bayes: bool) -> RegressionWeighing:
        return RegressionWeighing(self._members, self.inputs_, regressors, bayes, self._seed)
