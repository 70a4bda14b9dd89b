import math

import pytest
import torch
from pyro.infer import TraceEnum_ELBO

from pyro_ssl.data.toys import GaussianMixture
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import StaticEnum_ELBO
from pyro_ssl.models import BitMixture
from tests import oracle

# The corners of a square whose sides are no bits of their number: 1 and 2 change places with 3.
CROSSED = ((-1.0, -1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, 1.0))


def make(**options) -> BitMixture:
    torch.manual_seed(3)
    model = BitMixture(**{"initial_centres": CROSSED, "scale": 0.8, "hidden_dims": (5,)} | options)
    for parameter in model.encoder.parameters():
        parameter.data.mul_(3)
    return model.double()


def by_hand(model, xs):
    """The ELBO of each row, a sum over all values of all bits."""
    found = []
    for x in xs:
        outputs = model.encoder(x.unsqueeze(0))[0]
        total = torch.zeros((), dtype=x.dtype)
        for code in range(4):
            if model.factorised:
                on = outputs.sigmoid()
                high, low = code // 2, code % 2
                q = (on[0] if high else 1 - on[0]) * (on[1] if low else 1 - on[1])
            else:
                q = outputs.exp()[code] / outputs.exp().sum()
            squared = (x - model.centres[code]).square().sum() / model.scale**2
            log_p = -squared / 2 - math.log(2 * math.pi * model.scale**2) - math.log(4)
            total = total + q * (log_p - q.log())
        found.append(total)
    return torch.stack(found)


@pytest.mark.parametrize("elbo", [StaticEnum_ELBO, TraceEnum_ELBO])
@pytest.mark.parametrize("factorised", [True, False])
def test_loss_is_the_sum_over_codes_gradients_included(factorised, elbo):
    model = make(factorised=factorised)
    xs = torch.randn(5, 2, dtype=torch.double)
    loss, _ = oracle.run(model, elbo(max_plate_nesting=1), xs)
    expected = -by_hand(model, xs).sum()
    torch.testing.assert_close(loss, expected)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(expected, model))
    torch.testing.assert_close(model.bounds(xs)[0], by_hand(model, xs).detach())


def test_evidence_is_the_mixtures_and_the_gap_a_divergence():
    model, xs = make(), torch.randn(50, 2, dtype=torch.double)
    elbo, evidence = model.bounds(xs)
    covariances = torch.eye(2).expand(4, 2, 2).double() * model.scale**2
    truth = GaussianMixture("", model.centres.detach(), covariances)
    torch.testing.assert_close(evidence, truth.log_prob(xs))
    log_q, log_p = model.log_q(xs), model.log_joint(xs).log_softmax(-1)
    gap = (log_q.exp() * (log_q - log_p)).sum(-1)
    torch.testing.assert_close(evidence - elbo, gap)
    assert (gap > 0).all()


def test_full_encoder_closes_the_gap_and_a_factorised_one_where_sides_are_bits():
    xs = torch.randn(50, 2, dtype=torch.double)
    scale = 0.8
    full = make(factorised=False, hidden_dims=())
    # Of equal scales, log p(z|x) is linear in x.
    full.encoder.layers[0].weight.data = full.centres.data / scale**2
    full.encoder.layers[0].bias.data.zero_()
    elbo, evidence = full.bounds(xs)
    torch.testing.assert_close(elbo, evidence)
    upright = make(initial_centres=((-1, -1), (-1, 1), (1, -1), (1, 1)), hidden_dims=())
    for model, vanishes in ((upright, True), (make(hidden_dims=()), False)):
        model.encoder.layers[0].weight.data = 2 * torch.eye(2).double() / scale**2
        model.encoder.layers[0].bias.data.zero_()
        elbo, evidence = model.bounds(xs)
        assert torch.allclose(elbo, evidence) == vanishes


def test_options_make_its_like():
    model = make()
    again = BitMixture(**model.options).double()
    again.load_state_dict(model.state_dict())
    xs = torch.randn(3, 2, dtype=torch.double)
    torch.testing.assert_close(again.bounds(xs), model.bounds(xs))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"initial_centres": CROSSED[:3]}, "initial_centres are 3"),
        ({"scale": 0.0}, "scale is 0.0"),
    ],
)
def test_bad_option_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**options)
