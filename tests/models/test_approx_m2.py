import pyro
import pytest
import torch

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.infer import Objective
from pyro_ssl.models import M2, ApproxM2
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.elbos.test_sampled import make, pixels


@pytest.fixture
def model() -> ApproxM2:
    return make(ApproxM2, baseline_dims=(5,))


def test_weighted_objective_at_its_draws_is_the_formula(model):
    # 3 of 12 labelled rows and 4 of 28 unlabelled ones.
    xs, ys = pixels(7), torch.tensor([0, 2, 1, -1, -1, -1, -1])
    objective = Objective(model, 12, 28)
    with oracle.recorded_traces(objective.elbo) as traces:
        loss, _ = objective(Batch(xs, ys, 3))
    nodes = traces[-1][0].nodes
    known, rows = xs[:3], xs[3:]
    eps = oracle.noise(model, known, ys[:3], nodes["labelled/z"]["value"])
    labelled = oracle.labelled_bound(model, known, ys[:3], eps)
    labelled = -12 / (3 * 40) * labelled.sum()
    labelled = labelled + 2.0 * oracle.classification(model, known, ys[:3]).mean()
    drawn = nodes["unlabelled/y"]["value"]
    assert drawn.shape == (4,)
    bound, log_q, cost = oracle.drawn_label(
        model, rows, drawn, nodes["unlabelled/z"]["value"], weight=28 / (4 * 40)
    )
    torch.testing.assert_close(loss, labelled - cost.sum(), atol=1e-9, rtol=1e-9)
    baseline = model.baseline(rows.flatten(1)).squeeze(-1)
    score = (cost - baseline).detach() * log_q
    # The baseline learns by least squares, and nothing else reaches it or comes from it.
    by_hand = labelled - (bound + score).sum() + ((cost - baseline) ** 2).sum()
    ours = oracle.gradients(loss, model)
    oracle.assert_same(ours, oracle.gradients(by_hand, model))
    assert all(ours[n].abs().max() > 1e-3 for n in ours if n.startswith("baseline"))


def spread(model, calls=60, repeats=10):
    """Variance of the classifier's gradient, summed over its parameters."""
    xs, elbo, drawn = pixels(3).repeat(repeats, 1, 1, 1), model.make_elbo(), []
    with pyro.validation_enabled(False):
        for _ in range(calls):
            loss = elbo.differentiable_loss(model.model, model.guide, xs)
            gradients = torch.autograd.grad(loss, tuple(model.classifier.parameters()))
            drawn.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(drawn).var(0).sum()


def test_baseline_learns_the_bound_and_calms_the_gradient(model):
    for parameter in model.baseline.layers[-1].parameters():
        parameter.data.zero_()
    before = spread(model)
    xs, elbo = pixels(3).repeat(10, 1, 1, 1), model.make_elbo()
    optimiser = torch.optim.Adam(model.baseline.parameters(), lr=0.2)
    with pyro.validation_enabled(False):
        for _ in range(150):
            optimiser.zero_grad()
            elbo.differentiable_loss(model.model, model.guide, xs).backward()
            optimiser.step()
    assert spread(model) < 0.3 * before
    exact = [-StaticEnum_ELBO().loss(model.eval().model, model.guide, xs[:3]) for _ in range(100)]
    learnt = model.baseline(xs[:3].flatten(1)).sum().item()
    assert abs(learnt - sum(exact) / 100) < 0.1 * abs(learnt)


def test_evaluation_mode_is_m2(model):
    xs, found = pixels(7), []
    ys = torch.tensor([0, 2, 1, -1, -1, -1, -1])
    for each in (model.eval(), make(M2)):
        torch.manual_seed(5)
        found.append(StaticEnum_ELBO().loss(each.model, each.guide, xs, ys))
    assert found[0] == pytest.approx(found[1], abs=1e-9)
