"""The bound on log p(x, y) against Monte Carlo estimates written out."""

import math

import pyro
import pytest
import torch

from pyro_ssl.elbos import loss_and_terms
from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics import joint_bound
from pyro_ssl.models import CCVAE, MLPClassifier, SSLModel
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.infer.problems import blobs, small_m2
from tests.models.test_base import MODELS, inputs, labels

DRAWS = 4000


def held_out(rows=6):
    data = blobs()
    return data.validation_xs[:rows].double(), data.validation_ys[:rows]


def repeated(model, xs, ys, draws=DRAWS):
    """The mean of the bound of each row over many copies of it, and the standard errors."""
    found = joint_bound(model, xs.repeat(draws, 1, 1, 1), ys.repeat(draws)).view(draws, len(xs))
    return found.mean(0), found.std(0) / draws**0.5


@pytest.mark.parametrize("alpha", [0.0, 15.0])
def test_bound_of_m2_is_that_of_labelled_rows_without_the_classification_term(alpha):
    torch.manual_seed(0)
    model, (xs, ys) = small_m2(alpha=alpha).double(), held_out()
    with torch.no_grad():
        noise = torch.randn(DRAWS, len(xs), 2).double()
        draws = torch.stack([oracle.labelled_bound(model, xs, ys, eps) for eps in noise])
    mean, error = repeated(model, xs, ys)
    both = (error**2 + draws.var(0) / DRAWS).sqrt()
    # Four standard errors, which are small beside each of the terms.
    assert ((mean - draws.mean(0)).abs() < 4 * both).all()
    assert (both < 0.1).all()
    term = oracle.classification(model, xs, ys)
    assert (term > 5 * both).all()


def importance_weighted_ccvae(model, xs, ys, draws):
    """The bound of eq. 4 by draws from q(z|x): an expectation over q(z|x, y), per row."""
    with torch.no_grad():
        loc, scale = model._loc_and_scale(xs)
        zs = loc + scale * torch.randn(draws, *loc.shape).double()
        z_class, z_style = zs.split([3, 2], -1)
        log_q_y = model._label_logits(z_class).log_softmax(-1)[:, torch.arange(len(xs)), ys]
        log_px = oracle.pixel_log_prob(
            model, xs, model.decoder(zs.flatten(0, 1)).view(draws, len(xs), -1)
        )
        raw = model.prior_raw_scale[ys]
        prior = oracle.normal_log_prob(
            z_class, model.prior_loc[ys], torch.nn.functional.softplus(raw) + 1e-3
        ) + oracle.normal_log_prob(z_style, 0.0, 1.0)
        ratio = prior - oracle.normal_log_prob(zs, loc, scale)
        log_mean = log_q_y.logsumexp(0) - math.log(draws)
        weights = (log_q_y - log_mean).exp()
        inside = (weights * (log_px + ratio - log_q_y)).mean(0)
        return inside + math.log(1 / 3) + log_mean


def test_bound_of_ccvae_is_that_of_the_paper_with_the_label_in_it():
    torch.manual_seed(0)
    model, (xs, ys) = CCVAE((1, 4, 4), 3, style_dim=2, hidden_dims=(8,), alpha=5.0), held_out()
    model = model.double()
    with torch.no_grad():
        model.slope.fill_(2.0)
        model.prior_loc.copy_(torch.eye(3))
    mean, error = repeated(model, xs, ys, 40_000)
    parts = torch.stack([importance_weighted_ccvae(model, xs, ys, 4000) for _ in range(20)])
    both = (error**2 + parts.var(0) / 20).sqrt()
    # The mean over 100 draws by which the model divides makes a bias of the order of 1/100.
    assert ((mean - parts.mean(0)).abs() < 4 * both + 0.05).all()
    assert (both < 0.08).all()


CLASSIFIERS = [name for name, make in MODELS.items() if isinstance(make(), SSLModel)]


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name != "MLPClassifier"])
def test_bound_is_below_log_p_of_both_and_changes_nothing(name):
    torch.manual_seed(0)
    model = MODELS[name]().train()
    xs, ys = inputs(model), labels(model, 0, 1, 2, 3, 0, 1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = []
    for at_once in (4000, 4000, 4):
        torch.manual_seed(1)
        found.append(joint_bound(model, xs, ys, at_once=at_once))
    assert torch.equal(found[0], found[1])
    assert found[0].shape == found[2].shape == (6,)
    # log p(x, y) is below 0, and so is its bound, but for the noise of a single draw.
    draws = torch.stack([joint_bound(model, xs, ys) for _ in range(200)])
    assert draws.isfinite().all()
    assert (draws.mean(0) < 0).all()
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert list(pyro.get_param_store().keys()) == []


# In evaluation mode no ELBO of ours takes MultiLabelM2's draws of unknown attributes.
@pytest.mark.parametrize("name", sorted(set(CLASSIFIERS) - {"MLPClassifier", "MultiLabelM2"}))
def test_bound_is_what_the_elbo_of_labelled_rows_consists_of(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    xs, ys = inputs(model), labels(model, 0, 1, 2, 3, 0, 1)
    if ys.dim() == 2:
        # Some attributes are unknown, none of them all.
        ys = torch.where(torch.rand(ys.shape).argsort(-1) < 1, -1, ys)
    xs, ys = (rows.repeat(400, *[1] * (rows.dim() - 1)) for rows in (xs, ys))
    ours, theirs = [], []
    for _ in range(10):
        ours.append(joint_bound(model, xs, ys).mean())
        args = model.make_elbo(), model.model, model.guide, Batch(xs, ys, len(xs))
        _, terms = loss_and_terms(*args)
        # The one class of models whose classification term is part of the bound.
        log_q = -terms["classification"] if "CCVAE" in name else 0.0
        theirs.append(terms["labelled_elbo"] + log_q)
    ours, theirs = torch.stack(ours), torch.stack(theirs)
    both = ((ours.var() + theirs.var()) / 10).sqrt()
    assert (ours.mean() - theirs.mean()).abs() < 4.5 * both + 1e-4
    assert both < 0.1


@pytest.mark.parametrize("name", ["M2", "RaoBlackwellM2", "GumbelSoftmaxM2", "LatentM2"])
def test_other_labels_have_another_bound(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    xs = inputs(model)
    found = []
    for ys in ((0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1)):
        torch.manual_seed(1)
        found.append(joint_bound(model, xs, labels(model, *ys)))
    assert (found[0] != found[1]).all()


def test_a_model_of_labels_alone_is_refused():
    xs, ys = held_out()
    with pytest.raises(ConfigError, match=r"MLPClassifier is a model of p\(y\|x\) alone"):
        joint_bound(MLPClassifier((1, 4, 4), 3).double(), xs, ys)
