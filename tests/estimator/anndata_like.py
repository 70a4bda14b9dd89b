"""AnnData objects, real ones and the least that stands in for them, of synthetic cells."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from pyro_ssl.data import draw_cells


def tables(cells=80, genes=12, seed=0):
    """Counts, and the columns of obs and var, of cells of three types of which few are labelled."""
    drawn = draw_cells(cells, genes, types=3, seed=seed)
    names = np.array(["B cell", "T cell", "monocyte"], dtype=object)[drawn.types]
    labels = np.where(np.arange(cells) % 4 == 0, names, "Unknown")
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(labels), "batch": [f"donor{b}" for b in drawn.batches]},
        index=[f"cell{n}" for n in range(cells)],
    )
    var = pd.DataFrame(index=[f"gene{n}" for n in range(genes)])
    return drawn.counts, obs, var


def stand_in(x, obs, var, layers=None):
    """The attributes of an AnnData object that the library uses."""
    found = SimpleNamespace(X=x, obs=obs.copy(), var=var.copy(), layers=dict(layers or {}))
    found.obsm, found.raw = {}, None
    return found


def real(x, obs, var, layers=None):
    """An AnnData object; the package must be there."""
    import anndata

    return anndata.AnnData(x, obs=obs.copy(), var=var.copy(), layers=layers)


def normalised(counts):
    """What pipelines make of counts."""
    return sp.csr_matrix(np.log1p(counts / counts.sum(1, keepdims=True) * 1e4))
