"""KL divergences in closed form: of Bernoulli variables bit for bit those of torch."""

import pytest
import torch
from pyro import distributions as dist
from torch.distributions import kl_divergence

from pyro_ssl.elbos.closed_form import divergence


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_bits_it_is_torchs_gradients_included(dtype):
    own = torch.cat([5 * torch.randn(50), torch.tensor([0.0, 200.0, -200.0, 1e4])]).to(dtype)
    for prior in (torch.zeros_like(own), own.flip(0).clamp(-9, 9)):
        found = []
        for kl in (divergence, kl_divergence):
            logits = [own.clone().requires_grad_(), prior.clone().requires_grad_()]
            p, q = (dist.Bernoulli(logits=each.view(2, -1)).to_event(1) for each in logits)
            value = kl(p, q)
            found.append((value, *torch.autograd.grad(value.sum(), logits)))
        for ours, theirs in zip(*found, strict=True):
            assert torch.equal(ours, theirs)
        assert found[0][0].shape == (2,)
        assert found[0][0].isfinite().all()


def test_of_bits_it_is_the_sum_by_hand():
    p, q = torch.tensor([0.2, 0.9]).double(), torch.tensor([0.5, 0.4]).double()
    by_hand = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
    found = divergence(dist.Bernoulli(p).to_event(1), dist.Bernoulli(q).to_event(1))
    torch.testing.assert_close(found, by_hand)


def test_of_values_that_only_one_takes_it_is_infinite():
    p = torch.tensor([0.0, 1.0, 0.3, 0.0, 1.0, 0.5, 0.5, 0.0, 1.0])
    q = torch.tensor([0.0, 1.0, 0.0, 0.4, 0.4, 1.0, 0.0, 1.0, 0.0])
    p, q = dist.Bernoulli(p), dist.Bernoulli(q)
    assert torch.equal(divergence(p, q), kl_divergence(p, q))
    assert divergence(p, q).isinf().tolist() == [False, False, True, False, False] + 4 * [True]


def test_of_all_others_it_is_torchs():
    p, q = (dist.Normal(torch.randn(4, 3), torch.rand(4, 3)).to_event(1) for _ in range(2))
    assert torch.equal(divergence(p, q), kl_divergence(p, q))
    with pytest.raises(NotImplementedError):
        divergence(dist.Bernoulli(torch.rand(2)), dist.Normal(torch.zeros(2), 1.0))
