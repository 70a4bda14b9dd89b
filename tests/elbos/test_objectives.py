"""Every model under every ELBO of Pyro: the objective that it has, or an error that says so."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

from pyro_ssl.errors import ObjectiveError
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import CCVAE, BernoulliVAE, MultiLabelCCVAE
from tests.infer.problems import blobs
from tests.models.test_base import MODELS, inputs, labels

WEIGHTED = ("CCVAE", "MultiLabelCCVAE")
ELBOS = {
    "TraceEnum": lambda nesting: TraceEnum_ELBO(max_plate_nesting=nesting),
    "Trace": lambda nesting: Trace_ELBO(),
    "TraceMeanField": lambda nesting: TraceMeanField_ELBO(),
    "TraceGraph": lambda nesting: TraceGraph_ELBO(),
}
DRAWS = 25


def mean_loss(model, elbo, xs, ys, draws=DRAWS):
    """The mean loss over draws of the latents, and its standard error."""
    with pyro.get_param_store().scope():
        losses = [elbo.loss(model.model, model.guide, xs, ys) for _ in range(draws)]
    losses = torch.tensor(losses, dtype=torch.float64)
    return losses.mean().item(), losses.std().item() / math.sqrt(draws)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(set(MODELS) - set(WEIGHTED)))
def test_other_elbos_have_the_same_objective_or_refuse(name):
    model = MODELS[name]().double().train()
    xs, ys = inputs(model).double(), labels(model, 0, 1, 2, -1, -1, -1)
    ys = ys.to(xs.dtype) if ys.is_floating_point() else ys
    own, error = mean_loss(model, model.make_elbo(), xs, ys)
    agreed = 0
    for make in ELBOS.values():
        try:
            other, other_error = mean_loss(model, make(model.max_plate_nesting), xs, ys)
        except (NotImplementedError, ObjectiveError):
            continue
        agreed += 1
        assert other == pytest.approx(own, abs=5 * math.hypot(error, other_error) + 1e-6)
    assert agreed >= 2


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("elbo", ELBOS)
@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("training", [True, False])
def test_weights_of_rows_that_an_elbo_does_not_read_are_refused_by_name(name, elbo, training):
    model = MODELS[name]().double().train(training)
    xs, ys = inputs(model).double(), labels(model, 0, 1, 2, -1, -1, -1)
    elbo = ELBOS[elbo](model.max_plate_nesting)
    with pytest.raises(ObjectiveError, match=r"does not read.*m\.make_elbo\(\)"):
        elbo.loss_and_grads(model.model, model.guide, xs, ys)
    # Without a label there is no weight, and the enumerated objective is the model's.
    if isinstance(elbo, TraceEnum_ELBO):
        own, error = mean_loss(model, model.make_elbo(), xs, None)
        other, other_error = mean_loss(model, elbo, xs, None)
        assert other == pytest.approx(own, abs=5 * math.hypot(error, other_error))


@pytest.mark.parametrize("kind", [CCVAE, MultiLabelCCVAE])
def test_what_only_draws_from_a_weighted_guide_goes_on_working(kind):
    model = kind(input_shape=(1, 2, 3), num_classes=4, style_dim=2, hidden_dims=(5,))
    xs, ys = inputs(model), labels(model, 0, 1, 2, 3, 0, 1)
    drawn = Predictive(model.guide, num_samples=2)(xs, ys)
    assert torch.isfinite(drawn["weight"]).all()
    trace = poutine.trace(model.guide).get_trace(xs, ys)
    assert torch.isfinite(trace.log_prob_sum())
    assert torch.isfinite(importance_weighted_bound(model, xs, 3)).all()
    if kind is CCVAE:
        torch.manual_seed(0)
        model = CCVAE((1, 4, 4), 3, style_dim=2, hidden_dims=(5,))
        config = FitConfig(epochs=1, batch_size=36, validation_bound=True)
        assert "weight" in fit(model, blobs(), config).rows[0]


def test_codes_of_many_bits_are_not_enumerated():
    model, xs = BernoulliVAE(6, num_bits=64), torch.ones(3, 6)
    with pytest.raises(ObjectiveError, match=r"2\^B: use the model's own"):
        TraceEnum_ELBO(max_plate_nesting=1).loss(model.model, model.guide, xs)
