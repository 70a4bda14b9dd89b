import pyro
import pyro.optim
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO

from pyro_ssl.infer import Objective, RowWeights
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.infer.problems import blobs, small_m2
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
