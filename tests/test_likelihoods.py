import math

import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.likelihoods import BagOfWords, bernoulli, gaussian


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_log_prob_is_minus_the_cross_entropy_also_far_out_and_in_between(dtype):
    logits = torch.tensor([-200.0, -30.0, -1.0, 0.0, 0.3, 25.0, 200.0], dtype=dtype)
    logits = logits.repeat(3, 1).requires_grad_()
    xs = torch.tensor([0.0, 0.4, 1.0], dtype=dtype).unsqueeze(1).expand(3, 7)
    ours = bernoulli(logits, 1).log_prob(xs)
    theirs = -F.binary_cross_entropy_with_logits(logits, xs, reduction="none").sum(-1)
    torch.testing.assert_close(ours, theirs)
    (ours_gradient,) = torch.autograd.grad(ours.sum(), logits)
    (theirs_gradient,) = torch.autograd.grad(theirs.sum(), logits)
    torch.testing.assert_close(ours_gradient, theirs_gradient)


def test_gaussian_log_prob_is_the_formula_with_a_scale_that_has_a_floor():
    loc = torch.randn(4, 3).double().requires_grad_()
    raw = torch.randn(4, 3).double().requires_grad_()
    xs = torch.randn(4, 3).double()
    scale = 0.2 + F.softplus(raw)
    by_hand = (-0.5 * ((xs - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
    ours = gaussian(loc, raw, 1, min_scale=0.2).log_prob(xs)
    torch.testing.assert_close(ours, by_hand)
    wanted = torch.autograd.grad(by_hand.sum(), (loc, raw))
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), (loc, raw)), wanted)


def test_gaussian_of_a_constant_is_bounded_and_pulls_the_scale_no_further_than_its_floor():
    raw = torch.tensor([-1e4, -200.0, -30.0]).requires_grad_()
    found = gaussian(torch.zeros(3), raw, 0, min_scale=0.01).log_prob(torch.zeros(3))
    torch.testing.assert_close(found.detach(), torch.full((3,), -math.log(0.01 * math.tau**0.5)))
    (gradient,) = torch.autograd.grad(found.sum(), raw)
    # The further below its floor, the less the scale is pulled; without one it would be by 1.
    assert gradient.abs().max() < 1e-10


def test_bag_of_words_expands_to_the_same_words():
    logits, value = torch.randn(3, 1, 5), torch.randint(0, 4, (3, 2, 5)).float()
    one = BagOfWords(logits)
    more = one.expand(torch.Size([3, 2]))
    assert (more.batch_shape, more.event_shape) == ((3, 2), (5,))
    torch.testing.assert_close(more.log_prob(value), one.log_prob(value))
    torch.testing.assert_close(more.mean, logits.softmax(-1).expand(3, 2, 5))
