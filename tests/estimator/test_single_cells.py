"""AnnData objects: counts as rows, predictions and latents written back."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import pyro_ssl
from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from pyro_ssl.estimator.cells import CellInputs, CellRows
from pyro_ssl.likelihoods import Categorical, Conditional, GeneCounts
from tests.estimator.anndata_like import normalised, real, stand_in, tables

KEYS = {"label_key": "cell_type", "batch_key": "batch"}
without_anndata = pytest.mark.skipif(
    find_spec("anndata") is None, reason="anndata is not installed: pip install '.[cells]'"
)
KINDS = [stand_in, pytest.param(real, marks=without_anndata)]
FEW = {"members": 2, "max_steps": 20, "random_state": 0}


@pytest.fixture(params=KINDS, ids=["stand-in", "anndata"])
def make(request):
    return request.param


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_rows_are_the_counts_with_sizes_batches_and_labels(make, form, dtype):
    counts, obs, var = tables()
    cells = pyro_ssl.from_anndata(make(form(counts.astype(dtype)), obs, var), **KEYS)
    np.testing.assert_array_equal(cells.counts.toarray(), counts)
    np.testing.assert_array_equal(cells.sizes, counts.sum(1))
    assert cells.batches.tolist() == obs["batch"].tolist()
    assert cells.genes.tolist() == var.index.tolist()
    known = obs["cell_type"] != "Unknown"
    assert [y for y in cells.y if y is not None] == obs["cell_type"][known].tolist()
    assert sum(y is None for y in cells.y) == 60


def test_encoded_rows_are_counts_size_and_the_batchs_code(make):
    counts, obs, var = tables()
    cells = pyro_ssl.from_anndata(make(counts, obs, var), **KEYS)
    inputs = CellInputs.infer(cells)
    xs = inputs.encode(cells)
    codes = (obs["batch"] == "donor1").to_numpy()
    np.testing.assert_array_equal(xs.numpy(), np.c_[counts, counts.sum(1), codes])
    assert inputs.likelihood == Conditional(
        GeneCounts(target=float(np.median(counts.sum(1)))), (Categorical(2),)
    )
    inputs.likelihood.check(xs)
    assert inputs.input_shape == (14,)
    design = inputs.features(xs)
    logs = np.log1p(counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1)))
    wanted = (logs - logs.mean(0)) / logs.std(0)
    np.testing.assert_allclose(design[:, :12], wanted, atol=1e-5)
    np.testing.assert_array_equal(design[:, 12:], np.c_[~codes, codes])
    assert CellInputs.from_dict(inputs.to_dict()) == inputs
    again = inputs.decode(xs)
    np.testing.assert_array_equal(again.counts.toarray(), counts)
    assert again.batches.tolist() == cells.batches.tolist()
    alone = CellInputs.infer(pyro_ssl.from_anndata(make(counts, obs, var)))
    assert alone.likelihood == inputs.likelihood.likelihood
    assert alone.encode(cells).shape == (80, 13)


def test_normalised_values_are_refused_with_the_layer_that_holds_counts(make):
    counts, obs, var = tables()
    layers = {"scaled": normalised(counts), "counts": sp.csr_matrix(counts)}
    adata = make(normalised(counts), obs, var, layers)
    with pytest.raises(DataError, match=r"adata.X has the value .* raw .*layer='counts' holds"):
        pyro_ssl.from_anndata(adata, **KEYS)
    with pytest.raises(DataError, match=r"layers\['scaled'\] has the value"):
        pyro_ssl.from_anndata(adata, **KEYS, layer="scaled")
    cells = pyro_ssl.from_anndata(adata, **KEYS, layer="counts")
    np.testing.assert_array_equal(cells.counts.toarray(), counts)
    with pytest.raises(ConfigError, match=r"layer is 'raw', expected one of .*'scaled', 'counts'"):
        pyro_ssl.from_anndata(adata, layer="raw")
    with pytest.raises(DataError, match="no layer holds counts"):
        pyro_ssl.from_anndata(make(normalised(counts), obs, var))
    adata = make(normalised(counts), obs, var)
    adata.raw = make(counts, obs, var)
    with pytest.raises(DataError, match=r"give adata.raw.to_adata\(\)"):
        pyro_ssl.from_anndata(adata)
    with pytest.raises(DataError, match="has the value -1"):
        pyro_ssl.from_anndata(make(counts - (counts == counts.max()) * (counts + 1), obs, var))


def test_what_obs_lacks_is_named(make):
    counts, obs, var = tables()
    adata = make(counts, obs, var)
    with pytest.raises(ConfigError, match=r"label_key is 'type', expected .* cell_type, batch"):
        pyro_ssl.from_anndata(adata, "type")
    with pytest.raises(ConfigError, match="batch_key is 'donor'"):
        pyro_ssl.from_anndata(adata, batch_key="donor")
    gaps = make(counts, obs.assign(batch=obs["batch"].where(obs.index != "cell5")), var)
    with pytest.raises(DataError, match="cell 'cell5' has no 'batch'"):
        pyro_ssl.from_anndata(gaps, **KEYS)
    with pytest.warns(UserWarning, match="no cell has the label 'none' or a missing one"):
        pyro_ssl.from_anndata(adata, "cell_type", unlabelled="none")
    with pytest.warns(UserWarning, match="all cells are of the batch 'one'"):
        pyro_ssl.from_anndata(make(counts, obs.assign(batch="one"), var), **KEYS)
    empty = counts.copy()
    empty[7] = 0
    with pytest.raises(DataError, match="the cell 'cell7' has no counts"):
        pyro_ssl.from_anndata(make(empty, obs, var), **KEYS)
    sized = make(counts, obs.assign(size=2.0), var)
    assert (pyro_ssl.from_anndata(sized, size_key="size").sizes == 2).all()
    sized.obs["size"] = 0.0
    with pytest.raises(DataError, match="the cell 'cell0' has the size 0"):
        pyro_ssl.from_anndata(sized, size_key="size")
    with pytest.raises(DataError, match="the gene 'gene0' occurs twice"):
        CellInputs.infer(CellRows(counts, ["gene0"] * 12))


def test_an_anndata_object_itself_is_refused(make):
    counts, obs, var = tables()
    with pytest.raises(DataError, match=r"give cells = pyro_ssl.from_anndata\(adata"):
        SemiSupervisedVAEClassifier().fit(make(counts, obs, var), obs["cell_type"])


def test_missing_labels_are_unknown_too(make):
    counts, obs, var = tables()
    labels = obs["cell_type"].astype(object).where(obs["cell_type"] != "Unknown")
    gaps = make(counts, obs.assign(cell_type=labels), var)
    with_gaps = pyro_ssl.from_anndata(gaps, **KEYS).y
    named = pyro_ssl.from_anndata(make(counts, obs, var), **KEYS).y
    assert with_gaps.tolist() == named.tolist()


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("model", ["auto", "m1m2"])
def test_predictions_and_latents_are_written_back(make, model):
    counts, obs, var = tables()
    adata = make(sp.csr_matrix(counts), obs, var)
    cells = pyro_ssl.from_anndata(adata, **KEYS)
    classifier = cells.classifier(model=model, **FEW).fit(cells, cells.y)
    assert classifier.classes_.tolist() == ["B cell", "T cell", "monocyte"]
    cells.write_back(classifier, adata, key="types")
    probabilities = classifier.predict_proba(cells)
    labels = adata.obs["types_label"]
    assert isinstance(labels.dtype, pd.CategoricalDtype)
    assert labels.cat.categories.tolist() == classifier.classes_.tolist()
    assert labels.tolist() == classifier.predict(cells).tolist()
    np.testing.assert_allclose(adata.obs["types_probability"], probabilities.max(1))
    np.testing.assert_allclose(adata.obsm["types_probabilities"], probabilities)
    latents = adata.obsm["X_types"]
    assert latents.shape == (80, classifier.transform_dim_)
    np.testing.assert_allclose(latents, classifier.transform(cells), rtol=1e-5)
    with pytest.raises(DataError, match="adata has 80 cells, which are not the 80"):
        cells.write_back(classifier, make(counts, obs.iloc[::-1], var))
    with pytest.raises(DataError, match="adata has 40 cells"):
        cells.write_back(classifier, make(counts[:40], obs.iloc[:40], var))


@pytest.mark.usefixtures("few_steps")
def test_other_cells_are_classified_by_the_names_of_genes_and_batches(tmp_path):
    counts, obs, var = tables()
    cells = pyro_ssl.from_anndata(stand_in(counts, obs, var), **KEYS)
    classifier = cells.classifier(model="m2", **FEW).fit(cells, cells.y)
    wanted = classifier.predict_proba(cells)
    order = np.random.default_rng(0).permutation(12)
    more = np.c_[counts[:, order], np.ones(80, int)]
    names = pd.DataFrame(index=[*var.index[order], "other"])
    other = pyro_ssl.from_anndata(
        stand_in(more, obs.assign(size=counts.sum(1)), names), batch_key="batch", size_key="size"
    )
    assert other.y is None
    np.testing.assert_array_equal(classifier.predict_proba(other), wanted)
    np.testing.assert_array_equal(classifier.predict_proba(cells[5:9]), wanted[5:9])
    fewer = pyro_ssl.from_anndata(stand_in(counts[:, :9], obs, var.iloc[:9]), **KEYS)
    with pytest.raises(DataError, match="X lacks 3 of the 12 genes of training, such as"):
        classifier.predict(fewer)
    moved = pyro_ssl.from_anndata(stand_in(counts, obs.assign(batch="a"), var), label_key=None)
    with pytest.raises(DataError, match="X has no batches, expected donor0, donor1"):
        classifier.predict(moved)
    moved.batches = np.array(["donor0"] * 79 + ["donor9"], dtype=object)
    with pytest.raises(DataError, match=r"X has the batches \['donor9'\], expected donor0, donor1"):
        classifier.predict(moved)
    with pytest.raises(DataError, match="X is a ndarray, but this classifier learnt from cells"):
        classifier.predict(counts)
    classifier.save(tmp_path / "kept")
    loaded = SemiSupervisedVAEClassifier.load(tmp_path / "kept")
    np.testing.assert_array_equal(loaded.predict_proba(other), wanted)


@pytest.mark.usefixtures("few_steps")
def test_the_order_of_cells_makes_no_difference():
    counts, obs, var = tables()
    order = np.random.default_rng(0).permutation(80)
    one, other = (
        pyro_ssl.from_anndata(stand_in(counts[rows], obs.iloc[rows], var), **KEYS)
        for rows in (np.arange(80), order)
    )
    first, second = (c.classifier(model="m2", **FEW).fit(c, c.y) for c in (one, other))
    np.testing.assert_array_equal(first.predict_proba(one), second.predict_proba(one))


@pytest.mark.usefixtures("few_steps")
def test_cells_are_decoded_as_if_of_another_batch():
    counts, obs, var = tables()
    cells = pyro_ssl.from_anndata(stand_in(counts, obs, var), **KEYS)
    classifier = cells.classifier(model="m2", **FEW).fit(cells, cells.y)
    latents = classifier.transform(cells)
    batches = cells.batches == "donor1"
    here, there = (cells[np.flatnonzero(batches == b)[:1]] for b in (False, True))
    there.sizes = here.sizes
    label = ["B cell"] * 80
    first, second = (classifier.inverse_transform(latents, label, like=c) for c in (here, there))
    assert set(first.batches) == {"donor0"}
    assert set(second.batches) == {"donor1"}
    assert np.abs(first.counts - second.counts).max() > 1e-6
    # The means of all genes sum to the size of the cell.
    np.testing.assert_allclose(np.asarray(first.counts.sum(1)).ravel(), here.sizes[0], rtol=1e-6)
    drawn = classifier.sample("T cell", 6, random_state=0)
    assert (drawn.counts.data == np.rint(drawn.counts.data)).all()
    assert set(drawn.batches) <= {"donor0", "donor1"}
    assert np.isfinite(classifier.score_samples(cells)).all()
    assert classifier.columns_["family"].tolist() == ["count"] * 12 + ["covariate categorical"]


@pytest.mark.usefixtures("few_steps")
def test_columns_of_cells_are_refused_and_warm_starts_compare_genes():
    counts, obs, var = tables()
    cells = pyro_ssl.from_anndata(stand_in(counts, obs, var), **KEYS)
    with pytest.raises(ConfigError, match="images, signals and cells have none"):
        cells.classifier(model="m2", columns={0: "count"}, **FEW).fit(cells, cells.y)
    classifier = cells.classifier(model="m2", warm_start=True, **FEW).fit(cells, cells.y)
    var.index = [f"other{n}" for n in range(12)]
    others = pyro_ssl.from_anndata(stand_in(counts, obs, var), **KEYS)
    with pytest.warns(UserWarning, match="starts anew: X has other genes or batches"):
        classifier.fit(others, others.y)


@pytest.mark.usefixtures("few_steps")
def test_cells_come_in_parts_too():
    counts, obs, var = tables()
    cells = pyro_ssl.from_anndata(stand_in(counts, obs, var), **KEYS)
    stream = cells.classifier(model="m2", **FEW)
    stream.partial_fit(cells[:40], cells.y[:40], classes=["B cell", "T cell", "monocyte"])
    before = stream.predict_proba(cells)
    stream.partial_fit(cells[40:], cells.y[40:])
    after = stream.predict_proba(cells)
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 1e-6


def test_rows_are_indexed_as_scikit_learn_does():
    counts, _, var = tables()
    rows = CellRows(counts, var.index, ["a", "b"] * 40)
    for index in (np.array([3, 1]), [3, 1], (np.array([3, 1]), ...)):
        some = rows[index]
        np.testing.assert_array_equal(some.counts.toarray(), counts[[3, 1]])
        assert some.batches.tolist() == ["b", "b"]
        assert (len(some), some.shape) == (2, (2, 12))
    mask = np.arange(80) < 5
    assert len(rows[mask]) == 5
    assert isinstance(rows[:4].sizes, np.ndarray)
    assert torch.equal(
        CellInputs.infer(rows).encode(rows[:4]), CellInputs.infer(rows).encode(rows)[:4]
    )
