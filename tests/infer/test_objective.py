import pytest
import torch

from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, Objective
from pyro_ssl.infer.batches import MiniBatches
from pyro_ssl.models import MLPClassifier
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.infer.problems import blobs, small_m2


def batch_of(data, dtype=torch.float64):
    xs = torch.cat([data.labelled_xs[:4], data.unlabelled_xs[:9]]).to(dtype)
    ys = torch.cat([data.labelled_ys[:4], torch.full((9,), -1)])
    return Batch(xs, ys, 4)


def test_loss_and_terms_are_the_weighted_sums_of_the_formulas():
    data, model = blobs(), small_m2().double()
    objective = Objective(model, num_labelled=12, num_unlabelled=108)
    batch = batch_of(data)
    xs, ys, n = batch.xs, batch.ys, batch.num_labelled
    with oracle.recorded_traces(objective.elbo) as recorded:
        loss, terms = objective(batch)
    (traces,) = recorded
    z_l = traces[0].nodes["labelled/z"]["value"]
    z_u = traces[0].nodes["unlabelled/z"]["value"]
    eps_l = oracle.noise(model, xs[:n], ys[:n], z_l)
    noise = [oracle.noise(model, xs[n:], torch.full((9,), k), z_u[k]) for k in range(3)]
    eps_u = torch.stack(noise)
    bound_l = oracle.labelled_bound(model, xs[:n], ys[:n], eps_l).mean()
    bound_u = oracle.unlabelled_bound(model, xs[n:], eps_u).mean()
    cross_entropy = oracle.classification(model, xs[:n], ys[:n]).mean()
    by_hand = -(12 / 120) * bound_l - (108 / 120) * bound_u + 0.5 * cross_entropy
    torch.testing.assert_close(loss, by_hand)
    oracle.assert_same(oracle.gradients(loss, model), oracle.gradients(by_hand, model))

    torch.testing.assert_close(terms["labelled_elbo"], bound_l.detach())
    torch.testing.assert_close(terms["unlabelled_elbo"], bound_u.detach())
    torch.testing.assert_close(terms["classification"], cross_entropy.detach())
    # A bound is its reconstruction less its divergences, with nothing left over.
    for part, known in (("labelled", True), ("unlabelled", False)):
        whole = terms[f"{part}_log_prob_x"] - terms[f"{part}_kl_z"]
        whole += terms[f"{part}_log_prob_y"] if known else -terms[f"{part}_kl_y"]
        torch.testing.assert_close(terms[f"{part}_elbo"], whole)
    q = model.predict_proba(xs[n:])
    kl_y = (q * (q * 3).log()).sum(-1).mean()
    torch.testing.assert_close(terms["unlabelled_kl_y"], kl_y)


def test_minibatch_loss_is_unbiased_for_the_whole_data():
    data = blobs(rows=48, labels=48)
    model = MLPClassifier((1, 4, 4), 3, hidden_dims=(8,)).eval()
    objective = Objective(model, 48, 0)
    whole, _ = objective(Batch(data.labelled_xs, data.labelled_ys, 48))
    batches = MiniBatches(data, batch_size=12, binarise=False)
    parts = [objective(batch)[0] for batch in batches.epoch(0)]
    # The batches of one epoch partition the rows.
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_compute_dtype_reaches_the_networks_but_no_density():
    objective = Objective(small_m2(), 12, 108, torch.bfloat16)
    seen = []
    objective.model.decoder.layers[0].linear.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    batch = batch_of(blobs(), torch.float32)
    with oracle.recorded_traces(objective.elbo) as recorded:
        loss, _ = objective(batch)
    loss.backward()
    assert set(seen) == {torch.bfloat16}
    for trace in recorded[0]:
        for site in trace.nodes.values():
            if site["type"] == "sample":
                assert site["log_prob"].dtype == torch.float32
                assert site["value"].dtype in (torch.float32, torch.int64)


def test_bounds_that_weigh_equally_are_two_means():
    data = blobs()
    batch = batch_of(data)
    losses = {}
    for alpha in (0.0, 1200.0):
        for labelled in (12, 60):
            # As many rows of either kind as there may be: they do not count.
            model = small_m2(alpha=alpha).double()
            objective = Objective(model, labelled, 120 - labelled, equal=True)
            torch.manual_seed(3)
            losses[alpha, labelled], terms = objective(batch)
            by_hand = -terms["labelled_elbo"] - terms["unlabelled_elbo"]
            by_hand += 1200.0 * terms["classification"] if alpha else 0.0
            torch.testing.assert_close(losses[alpha, labelled].detach(), by_hand)
        assert losses[alpha, 12] == losses[alpha, 60]
    # The terms themselves are those of the formulas, see above; here only the weights differ.
    objective = Objective(small_m2(alpha=1200.0).double(), 12, 108)
    torch.manual_seed(3)
    by_rows, same = objective(batch)
    torch.testing.assert_close(same, terms)
    wanted = -0.1 * same["labelled_elbo"] - 0.9 * same["unlabelled_elbo"]
    torch.testing.assert_close(by_rows.detach(), wanted + 1200.0 * same["classification"])


def test_the_configuration_says_how_bounds_weigh():
    data, batch = blobs(), batch_of(blobs(), torch.float32)
    found = {}
    for weights in ("rows", "equal"):
        config = FitConfig(bound_weights=weights, l2=1e-3, anneal={})
        found[weights] = Objective.of(small_m2(), data, config)(batch)
    loss, terms = found["equal"]
    by_hand = -terms["labelled_elbo"] - terms["unlabelled_elbo"] + 0.5 * terms["classification"]
    torch.testing.assert_close(loss.detach(), by_hand + terms["penalty"])
    assert found["rows"][0] < loss
    with pytest.raises(ConfigError, match="bound_weights is 'half', expected one of rows, equal"):
        FitConfig(bound_weights="half")


def test_a_gradient_of_equal_weights_is_the_sum_of_both_kinds():
    batch = batch_of(blobs())
    n, gradients = batch.num_labelled, []
    # Without noise in z the loss of a batch is a function of the weights.
    for parts in ([batch], [Batch(batch.xs[:n], batch.ys[:n], n), Batch(batch.xs[n:], None, 0)]):
        model, total = small_m2(alpha=7.0).double(), 0.0
        model.encoder.layers[-1].bias.data[2:] = -1e3
        for part in parts:
            total = total + Objective(model, 12, 108, equal=True)(part)[0]
        gradients.append(oracle.gradients(total, model))
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=2e-2, rtol=2e-2)
