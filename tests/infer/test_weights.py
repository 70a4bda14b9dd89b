from itertools import combinations

import pyro
import pyro.distributions as dist
import pyro.optim
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO

from pyro_ssl.infer import Objective, RowWeights
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.models.rows import Batch
from pyro_ssl.models.terms import add_term
from tests import oracle
from tests.infer.problems import blobs, small_m2
from tests.infer.test_batches import numbered
from tests.infer.test_objective import batch_of


def test_a_loop_of_pyros_own_svi_with_row_weights_has_the_loss_of_fit():
    batch, weighted = batch_of(blobs()), RowWeights(12, 108)
    model = small_m2().double()
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    svi = SVI(weighted(model.model), weighted(model.guide), pyro.optim.SGD({"lr": 1e-9}), elbo)
    torch.manual_seed(3)
    loss, _ = Objective(model, 12, 108)(batch)
    torch.manual_seed(3)
    # Tensors alone, whose rows are told apart by a look at the labels.
    assert svi.step(batch.xs, batch.ys) == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_rows_weigh_the_same_in_a_call_of_one_kind(kind):
    whole, model = batch_of(blobs()), small_m2().double()
    n = whole.num_labelled
    part = Batch(whole.xs[:n], whole.ys[:n]) if kind == "labelled" else Batch(whole.xs[n:])
    promised = Batch(part.xs, part.ys, n if kind == "labelled" else 0)
    losses = []
    for batch in (part, promised):
        torch.manual_seed(3)
        with RowWeights(12, 108):
            loss, _ = oracle.run(model, model.make_elbo(), batch)
        losses.append(loss)
    assert losses[0] == losses[1] != 0


def test_alpha_weighs_a_mean_however_many_rows_there_are():
    batch, losses = batch_of(blobs()), {}
    for alpha in (0.0, 3.0):
        model = small_m2(alpha=alpha).double()
        for labelled in (12, 60):
            torch.manual_seed(3)
            losses[alpha, labelled], terms = Objective(model, labelled, 120 - labelled)(batch)
    for labelled in (12, 60):
        gained = losses[3.0, labelled] - losses[0.0, labelled]
        torch.testing.assert_close(gained, 3 * terms["classification"])


LOC = 0.3


def of_rows(batch):
    """Nothing is latent: each row adds log N(x; LOC, 1), a labelled one log 1/3 as well."""
    for rows in batch.parts():
        with rows.plate():
            pyro.sample("x", dist.Normal(LOC, 1.0).expand([1]).to_event(1), obs=rows.xs)
            if rows.ys is not None:
                pyro.sample("y", dist.Categorical(torch.ones(3).double()), obs=rows.ys)


def with_a_term(batch):
    for rows in batch.parts():
        with rows.plate():
            if rows.ys is not None:
                add_term("square", rows.xs[:, 0] ** 2, weight=0.7)


def loss_of(batch, weighted):
    return Trace_ELBO().loss(weighted(of_rows), weighted(with_a_term), batch)


def whole_loss(data):
    """The objective of all rows, per example, written out."""
    log_p = [
        dist.Normal(LOC, 1.0).log_prob(xs).sum() for xs in (data.labelled_xs, data.unlabelled_xs)
    ]
    bounds = sum(log_p) - data.num_labelled * torch.tensor(3.0).double().log()
    whole = data.num_labelled + data.num_unlabelled
    return (-bounds / whole + 0.7 * (data.labelled_xs**2).mean()).item()


@pytest.mark.parametrize("rows", [(5, 2), (2, 5), (6, 1)])
@pytest.mark.parametrize("sizes", [(2, 1), (1, 2), (1, 1)])
def test_the_mean_over_all_batches_is_the_loss_of_the_whole_data(rows, sizes):
    data, weighted = numbered(*rows), RowWeights(*rows)
    losses = []
    n, m = (min(size, number) for size, number in zip(sizes, rows, strict=True))
    for known in map(list, combinations(range(rows[0]), n)):
        for rest in map(list, combinations(range(rows[1]), m)):
            xs = torch.cat([data.labelled_xs[known], data.unlabelled_xs[rest]])
            losses.append(loss_of(Batch(xs, data.labelled_ys[known], n), weighted))
    assert len(set(losses)) > 1
    assert sum(losses) / len(losses) == pytest.approx(whole_loss(data), rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [((40, 1), (8, None)), ((40, 2), (1, 8)), ((3, 40), (8, None)), ((3, 40), (4, 1))],
)
def test_an_epoch_of_whole_passes_has_the_loss_of_the_whole_data(rows, sizes):
    data, weighted = numbered(*rows), RowWeights(*rows)
    # As many steps as make whole passes of both kinds.
    batches = MiniBatches(data, *sizes, steps=120, binarise=False)
    losses = [loss_of(batch, weighted) for batch in batches.epoch(0)]
    assert sum(losses) / 120 == pytest.approx(whole_loss(data), rel=1e-5)
