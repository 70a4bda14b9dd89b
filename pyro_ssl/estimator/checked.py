"""Checks and encoding of rows given to a fitted estimator."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from pyro_ssl.errors import DataError
from pyro_ssl.estimator.cells import CellRows
from pyro_ssl.estimator.images import as_numpy, is_array
from pyro_ssl.estimator.inputs import Inputs
from pyro_ssl.estimator.members import Members


class RowMethods:
    """Checks and encoding of rows; see `SemiSupervisedVAEClassifier`."""

    # Set by `fit`.
    inputs_: Inputs
    models_: list[Any]
    model_: Any
    _members: Members
    _seed: int

    def _encoded(self, X: Any) -> torch.Tensor:  # noqa: N803
        parameter = next(self.model_.parameters())
        return self.inputs_.encode(X).to(parameter.device, parameter.dtype)

    def _checked(self, X: Any, reset: bool = False) -> Any:  # noqa: N803
        """Check rows as scikit-learn does; data frames, sparse matrices and cells are passed on.

        For images and signals, `n_features_in_` is the number of values of a row; the values are
        checked when they are encoded.
        """
        if is_array(X):
            X = as_numpy(X)  # noqa: N806
            flat = X.reshape(len(X), int(np.prod(X.shape[1:])))
            validate_data(self, flat, reset=reset, skip_check_array=True)
            return X
        if isinstance(X, CellRows):
            # Genes are found by their names, since cells may have others too.
            return validate_data(self, X, reset=True, skip_check_array=True) if reset else X
        if hasattr(X, "obs") and hasattr(X, "layers"):
            raise DataError(
                "X is an AnnData object: give cells = pyro_ssl.from_anndata(adata, label_key), and "
                "their labels cells.y"
            )
        if hasattr(X, "columns") or type(X).__module__.startswith("polars"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=None,
            accept_sparse="csr",
            ensure_all_finite="allow-nan" if not _holds_objects(X) else False,
        )


def _holds_objects(X: Any) -> bool:  # noqa: N803
    return not hasattr(X, "tocsr") and np.asarray(X).dtype.kind in "OUS"
