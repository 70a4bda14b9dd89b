import math

import torch
from torch.nn import functional as F

from pyro_ssl.metrics.documents import (
    document_bounds,
    own_log_prob,
    perplexity,
    smoothed,
    unigram_log_prob,
    word_frequencies,
)
from tests.models.test_bernoulli_vae import counts, exact_elbo, make


def test_bound_is_the_sum_over_codes_within_the_noise_of_its_draws():
    model, xs = make().train(), counts(3)
    found = document_bounds(model, xs.repeat(1100, 1), draws=5).view(1100, 3)
    error = found.std(0) / 1100**0.5
    assert ((found.mean(0) - exact_elbo(model, xs)).abs() < 3 * error).all()
    assert model.training


def test_what_is_explained_need_not_be_what_the_encoder_sees():
    model, xs, targets = make(), counts(3), counts(6)[3:]
    torch.manual_seed(5)
    both = document_bounds(model, xs, xs + targets, draws=1)
    torch.manual_seed(5)
    one = document_bounds(model, xs, draws=1)
    torch.manual_seed(5)
    code = (torch.rand(3, 4, dtype=torch.double) < model.encode(xs)).double()
    by_hand = (targets * model.decoder(code).log_softmax(-1)).sum(-1)
    torch.testing.assert_close(both - one, by_hand.detach())


def test_perplexity_is_the_inverse_of_the_geometric_mean_of_the_words_probabilities():
    xs = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    bounds = unigram_log_prob(xs, torch.tensor([0.8, 0.2]))
    assert math.isclose(perplexity(bounds, xs), (0.8**2 * 0.2**2) ** -0.25, rel_tol=1e-6)


def test_frequencies_have_no_zero_and_no_model_beats_a_documents_own():
    xs = torch.tensor([[3.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    frequencies = word_frequencies(xs)
    expected = torch.tensor([5 + 1 / 3, 1 / 3, 1 + 1 / 3]) / 7
    torch.testing.assert_close(frequencies, expected)
    targets = smoothed(xs, frequencies)
    torch.testing.assert_close(targets.sum(-1), xs.sum(-1) + 1)
    own = own_log_prob(targets)
    by_hand = sum(t * math.log(t / 5) for t in targets[0].tolist())
    assert math.isclose(own[0].item(), by_hand, rel_tol=1e-5)
    for _ in range(20):
        other = F.log_softmax(torch.randn(3), -1)
        assert (own >= targets @ other).all()
