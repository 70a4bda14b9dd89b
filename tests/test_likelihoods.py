import pytest
import torch
from torch.nn import functional as F

from pyro_ssl.likelihoods import bernoulli


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
