import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.infer import objective_terms
from pyro_ssl.infer.objective import TermWeights
from tests.oracle import recorded_traces

LOGITS = torch.tensor([[0.5, -0.3, 0.1], [0.0, 1.0, 2.0]], dtype=torch.float64)
XS = torch.tensor([0.4, -1.0], dtype=torch.float64)


def relaxed(masked):
    q_y = dist.RelaxedOneHotCategorical(torch.tensor(0.5), logits=LOGITS)
    return q_y.mask(False) if masked else q_y


def program(masked):
    """Model and guide with a relaxed label, masked or not, and its KL divergence as a factor."""

    def model():
        with pyro.plate("rows", 2):
            y = pyro.sample("unlabelled/y", relaxed(masked))
            pyro.sample("unlabelled/x", dist.Normal(y[..., 0], 1.0), obs=XS)

    def guide():
        with pyro.plate("rows", 2):
            pyro.sample("unlabelled/y", relaxed(masked))
            log_q = LOGITS.log_softmax(-1)
            kl = (log_q.exp() * (log_q - torch.tensor(1 / 3).log())).sum(-1)
            pyro.factor("unlabelled/kl_y", kl, has_rsample=True)
            pyro.factor("unlabelled/classification", torch.tensor([2.0, 4.0]), has_rsample=True)

    return model, guide


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("elbo", [StaticEnum_ELBO, Trace_ELBO])
def test_a_factor_that_is_a_divergence_is_one_and_lowers_the_bound(elbo, masked):
    elbo = elbo(max_plate_nesting=1)
    with recorded_traces(elbo) as traces:
        loss = elbo.differentiable_loss(*program(masked))
    terms = objective_terms(*traces[-1])
    log_q = LOGITS.log_softmax(-1)
    kl = (log_q.exp() * (log_q + torch.tensor(3.0).log())).sum(-1).mean()
    y = traces[-1][0].nodes["unlabelled/y"]["value"]
    log_px = dist.Normal(y[:, 0], 1.0).log_prob(XS).mean()
    assert set(terms) == {
        "unlabelled_kl_y",
        "unlabelled_elbo",
        "unlabelled_log_prob_x",
        "classification",
    }
    # The site's own densities are the same in model and guide, or masked: only the factor is left.
    torch.testing.assert_close(terms["unlabelled_kl_y"], kl, check_dtype=False)
    torch.testing.assert_close(terms["unlabelled_elbo"], log_px - kl, check_dtype=False)
    assert terms["classification"] == 3.0
    by_hand = 2 * (terms["classification"] - terms["unlabelled_elbo"])
    torch.testing.assert_close(loss, by_hand, check_dtype=False)


def test_such_a_factor_is_annealed_with_its_site():
    elbo = StaticEnum_ELBO()
    with recorded_traces(elbo) as traces, TermWeights({"kl_y": torch.tensor(0.25)}):
        loss = elbo.differentiable_loss(*program(masked=True))
    terms = objective_terms(*traces[-1])
    parts = terms["classification"] + 0.25 * terms["unlabelled_kl_y"]
    by_hand = 2 * (parts - terms["unlabelled_log_prob_x"])
    torch.testing.assert_close(loss, by_hand, check_dtype=False)
    assert terms["unlabelled_kl_y"] > 0.05
