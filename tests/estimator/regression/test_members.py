"""What members say, against the model whose posterior is known."""

import numpy as np
import torch

from pyro_ssl.estimator.members import Fold
from pyro_ssl.estimator.regression.members import RegressionMembers, log_weights, mixed_bound
from tests.models.test_regression_m2 import Linear, rows

NOTHING = np.empty(0, dtype=np.int64)


def members(*models):
    return RegressionMembers([m.eval() for m in models], [Fold(NOTHING, NOTHING)] * len(models))


def posterior(exact, xs):
    gain = torch.linalg.solve(exact.marginal, exact.w)
    return ((xs - exact.b) @ gain).numpy(), float((1 - gain @ exact.w).sqrt())


def test_posterior_is_exact_even_where_q_of_y_is_not():
    exact, xs = Linear(), rows()
    model = exact.model(exact=True)
    # q(y|x) is elsewhere, and much too narrow; q(z|x,y) is the posterior.
    model.regressor.layers[0].bias.data += torch.tensor([0.5, -2.0])
    (found,) = members(model).posterior(xs, 1, seed=3)
    mean, deviation = posterior(exact, xs)
    np.testing.assert_allclose(found[:, 0], mean, atol=0.1)
    np.testing.assert_allclose(found[:, 1], deviation, atol=0.08)
    (q,) = members(model).q(xs)
    assert (np.abs(q[:, 0] - mean) > 0.4).all()


def test_weights_are_an_unbiased_estimate_of_p_of_x():
    exact, xs = Linear(), rows()
    model = exact.model(exact=False).eval()
    truth = exact.log_p(xs)
    with torch.no_grad():
        each = [log_weights(model, xs, 1, seed)[1].exp().mean(0) for seed in range(300)]
    ratio = torch.stack(each) / truth.exp()
    error = ratio.std(0) / len(ratio) ** 0.5
    assert ((ratio.mean(0) - 1).abs() < 4 * error + 1e-3).all()
    bounds = members(model).log_marginal(xs, 4, 0)[0]
    assert (bounds < truth.numpy() + 0.3).all()
    np.testing.assert_allclose(bounds, truth, atol=0.5)


def test_joint_bounds_are_of_the_given_labels():
    exact, xs = Linear(), rows()
    model = exact.model(exact=True)
    ys = torch.tensor([0.3, -1.0, 2.0, 0.0, -0.4]).double()
    found = members(model, model).log_joint(xs, ys, 2, 0)
    np.testing.assert_allclose(mixed_bound(found), exact.log_p(xs, ys), atol=1e-8)


def test_a_row_depends_on_no_other():
    exact, xs = Linear(), rows()
    both = members(exact.model(exact=False))
    for call in (lambda x: both.posterior(x, 2, 1), lambda x: both.log_marginal(x, 2, 1)):
        np.testing.assert_allclose(call(xs)[:, 2:3], call(xs[2:3]), atol=1e-9)
