"""p(y|x) by Bayes' rule against sums over draws from the prior."""

import math

import pyro
import pytest
import torch
from pyro import poutine

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.metrics import bayes_probabilities, class_bounds, joint_bound
from pyro_ssl.models import MLPClassifier
from pyro_ssl.models.rows import Batch
from tests.infer.problems import small_m2
from tests.models.test_base import MODELS, inputs

DRAWS, ROWS = 20_000, 3
# One of each kind of guide that can be made broad, so that weighted draws soon agree.
NAMES = ("M2", "ADGM", "SDGM", "CCVAE", "M1M2")


def distinct(name):
    """A model whose classes differ, and whose guide has broad normal distributions."""
    torch.manual_seed(1)
    model = MODELS[name]().eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    for path, module in model.named_modules():
        if path.split(".")[-1] in ("encoder", "auxiliary_encoder"):
            outputs = module.layers[-1].bias.data
            outputs[len(outputs) // 2 :] += 2.0
    if name == "CCVAE":
        model.prior_loc.data += torch.eye(len(model.prior_loc))
        model.prior_raw_scale.data -= 1.0
    for path in ("decoder", "vae.decoder")[: 1 + (name == "M1M2")]:
        for parameter in model.get_submodule(path).parameters():
            parameter.data *= 2.0
    return model


def prior_log_joint(model, xs, k):
    """log p(x, y=k) of each row: the mean of p(x, y|h) over draws h from the prior."""
    batch = Batch(xs, torch.full((len(xs),), k), len(xs))
    with torch.no_grad(), pyro.plate("draws", DRAWS, dim=-1 - model.max_plate_nesting):
        trace = poutine.trace(model.model).get_trace(batch)
    trace.compute_log_prob()
    observed = [
        site["unscaled_log_prob"]
        for site in trace.nodes.values()
        if site["type"] == "sample"
        and site["is_observed"]
        and not isinstance(site["fn"], poutine.subsample_messenger._Subsample)
    ]
    return sum(observed).expand(DRAWS, len(xs)).logsumexp(0) - math.log(DRAWS)


@pytest.mark.parametrize("name", NAMES)
def test_with_many_weighted_draws_it_is_the_p_of_y_given_x_of_the_model(name):
    model = distinct(name)
    xs = inputs(model)[:ROWS]
    exact = torch.stack([prior_log_joint(model, xs, k) for k in range(model.num_classes)], -1)
    exact = exact.softmax(-1)
    found = bayes_probabilities(model, xs, DRAWS, importance_weighted=True, at_once=30_000)
    torch.testing.assert_close(found, exact, atol=0.1, rtol=0)
    # The classes differ by more than that.
    assert exact.max() - exact.min() > 0.2


def test_without_weights_it_is_that_of_the_bounds():
    torch.manual_seed(0)
    model, draws = small_m2(alpha=20.0).double(), 4000
    xs = torch.rand(ROWS, 1, 4, 4).round().double()
    bounds = []
    for k in range(model.num_classes):
        ys = torch.full((ROWS * draws,), k)
        bounds.append(joint_bound(model, xs.repeat(draws, 1, 1, 1), ys).view(draws, ROWS).mean(0))
    wanted = torch.stack(bounds, -1).softmax(-1)
    assert wanted.max() - wanted.min() > 0.05
    found = bayes_probabilities(model, xs, draws)
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)
    # And not what the weighted draws say.
    weighted = bayes_probabilities(model, xs, draws, importance_weighted=True)
    assert (weighted - found).abs().max() > 1e-3


def test_rows_may_be_many_or_none_and_the_model_stays_as_it_was():
    model = small_m2().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    xs = torch.rand(7, 1, 4, 4).round()
    found = bayes_probabilities(model, xs, 5, at_once=10)
    assert found.shape == (7, model.num_classes)
    torch.testing.assert_close(found.sum(-1), torch.ones(7))
    bounds = class_bounds(model, xs, 3)
    assert (bounds.weighted >= bounds.mean).all()
    # Of one draw there is but one average.
    torch.testing.assert_close(*class_bounds(model, xs))
    assert bayes_probabilities(model, xs[:0]).shape == (0, model.num_classes)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_models_without_a_joint_distribution_of_one_label_are_refused():
    xs = torch.rand(2, 1, 4, 4)
    with pytest.raises(ConfigError, match=r"model of p\(y\|x\) alone"):
        bayes_probabilities(MLPClassifier((1, 4, 4), 3, (5,)), xs)
    several = MODELS["MultiLabelM2"]()
    with pytest.raises(ConfigError, match="several labels a row"):
        bayes_probabilities(several, inputs(several))
    with pytest.raises(DataError):
        bayes_probabilities(small_m2(), torch.rand(2, 1, 3, 4))
