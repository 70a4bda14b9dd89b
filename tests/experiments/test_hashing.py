import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.engine.options import recorded_options
from experiments.gmm_approximation import compare
from experiments.semantic_hashing import Config, architectures, comparison, measure
from pyro_ssl.data import count_words
from pyro_ssl.metrics import pack_codes, precision_at
from tests.experiments import built
from tests.models.test_bernoulli_vae import exact_elbo

WORDS = ["aa", "bb", "cc", "dd", "ee"]


def documents():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 12)) for _ in range(160)]
    ys = np.arange(160) % 20
    return count_words("20newsgroups", texts[:120], ys[:120], texts[120:], ys[120:], 5)


@pytest.fixture(scope="module")
def tested():
    config = Config(bits=4, words=5, validation=20, draws=400, inputs="frequencies", device="cpu")
    dataset = documents()
    (contender,) = built.contenders(comparison(config), dataset).values()
    contender.model.encoder.layers[0].weight.data.mul_(20)
    return contender, dataset, built.measured(contender)


def test_bounds_are_of_counts_and_the_deviance_of_smoothed_ones(tested):
    contender, dataset, result = tested
    model, xs = contender.model, dataset.test_xs
    exact = exact_elbo(copy.deepcopy(model).double(), xs.double()).detach()
    assert result["test_elbo"] == pytest.approx(exact.mean().item(), abs=0.02)
    perplexity = math.exp(-exact.sum() / xs.sum())
    assert result["test_perplexity"] == pytest.approx(perplexity, rel=2e-3)
    train = contender.data.unlabelled_xs
    shares = (train.sum(0) + 1 / 5) / (train.sum() + 1)
    targets = xs + shares
    own = (targets * (targets / targets.sum(-1, keepdim=True)).log()).sum(-1)
    unigram = own - targets @ shares.log()
    assert result["unigram_deviance"] == pytest.approx(unigram.mean().item(), rel=1e-4)
    # Nearly linear in what is explained: one word more, the corpus' in its shares.
    more = result["test_deviance_kl"] - (own.mean().item() - result["test_elbo"])
    with torch.no_grad():
        codes = model.encode(xs) > 0.5
        words = -(model.decoder(codes.float()).log_softmax(-1) * shares).sum(-1)
    assert more == pytest.approx(words.mean().item(), rel=0.2)


def test_bits_may_be_halved_at_their_medians(tested):
    contender, dataset, result = tested
    config = Config(codes="median", bits=4, words=5, validation=20, draws=2, device="cpu")
    found, _ = measure(contender, dataset, config)
    train, test = (contender.model.encode(xs) for xs in (dataset.train_xs, dataset.test_xs))
    codes = [pack_codes((p > train.median(0).values).numpy()) for p in (train, test)]
    ys = dataset.train_ys.numpy(), dataset.test_ys.numpy()
    assert found["precision_at_100"] == precision_at(100, codes[0], ys[0], codes[1], ys[1])
    assert found["precision_at_100"] != result["precision_at_100"]


def test_the_literatures_protocol_is_told_apart():
    plain = recorded_options(Config())
    assert not {"split", "split_seed", "codes", "input_dropout"} & plain.keys()
    asked = Config(split="random", split_seed=3, codes="median", inputs="tfidf", words=5)
    recorded = recorded_options(asked)
    assert (recorded["split"], recorded["split_seed"], recorded["codes"]) == ("random", 3, "median")
    assert comparison(asked).suffix == "20newsgroups-random"
    own = replace(asked, bits=4, validation=20, device="cpu")
    (contender,) = built.contenders(comparison(own), documents()).values()
    # Weights of words are those of the training documents.
    assert contender.model.idf.max() > 1


def test_training_starts_near_the_unigram_model(tested):
    contender, _, _ = tested
    train = contender.data.unlabelled_xs
    shares = (train.sum(0) + 1 / 5) / (train.sum() + 1)
    torch.testing.assert_close(contender.model.decoder.layers[-1].bias.detach(), shares.log())


def test_neighbours_are_training_documents_of_the_likeliest_code(tested):
    contender, dataset, result = tested
    codes = [contender.model.encode(xs) > 0.5 for xs in (dataset.train_xs, dataset.test_xs)]
    shares = []
    for code, y in zip(codes[1], dataset.test_ys, strict=True):
        distances = (codes[0] != code).sum(-1)
        same = dataset.train_ys == y
        found, left = 0.0, 100
        for d in range(5):
            here = distances == d
            taken = min(left, int(here.sum()))
            found += taken * (same & here).sum().item() / max(int(here.sum()), 1)
            left -= taken
        shares.append(found / 100)
    assert result["precision_at_100"] == pytest.approx(np.mean(shares))


def test_the_papers_grid_has_its_36_models_each_with_its_folder():
    config = Config(grid="paper", words=5, validation=20, hidden=3, device="cpu")
    paper = architectures(config)
    assert len(paper) == 36
    found = built.contenders(comparison(config), documents())
    assert list(found) == list(paper)
    for name, own in paper.items():
        model = found[name].model
        assert (model.num_bits, model.inputs) == (own.bits, own.inputs)
        assert model.encoder_dims == (3,) * own.encoder_depth
        assert model.decoder_dims == (3,) * own.decoder_depth
        depths = f"{own.encoder_depth}-{own.decoder_depth}"
        assert name == f"bernoullivae-{own.inputs}-{depths}-{own.bits}bits"


def test_gain_of_joint_training_is_what_came_after_less_what_was_before():
    before = torch.tensor([-4.0, -2.0]), torch.tensor([-3.0, -1.0])
    after = torch.tensor([-3.5, -1.5]), torch.tensor([-3.0, -2.0])
    result = compare(before, after)
    assert (result["elbo_encoder"], result["elbo_joint"], result["elbo_gain"]) == (-3, -2.5, 0.5)
    assert (result["evidence_encoder"], result["evidence_gain"]) == (-2, -0.5)
    assert result["elbo_gain_standard_error"] == 0
    assert result["evidence_gain_standard_error"] == pytest.approx(0.5)
