"""The term of consistency, by hand, for every classifier and in every engine."""

import math
from dataclasses import replace

import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from pyro.optim import Adam

from pyro_ssl import Augmentation, Consistency
from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import Anneal, FitConfig, Objective, fit
from pyro_ssl.models import M2, SSLModel
from pyro_ssl.models.rows import Batch
from tests import oracle
from tests.infer.problems import blobs, small_m2
from tests.infer.test_svi import data_for
from tests.models.test_base import MODELS, SIZES

CONFIG = FitConfig(epochs=2, batch_size=36, learning_rate=0.01, compile="never", anneal={})
VIEW = Augmentation(rotation=20, translation=0.2)
ANY = Consistency(VIEW, 2.5, threshold=0.0)


def classifiers():
    for name, make in MODELS.items():
        model = make()
        if isinstance(model, SSLModel) and len(model.input_shape) == 3:
            yield name


@pytest.fixture
def mirrored(monkeypatch):
    """Let the view be the mirror image, which draws nothing."""
    monkeypatch.setattr(Augmentation, "__call__", lambda self, xs: xs.flip(-1))


def by_hand(model, xs, options):
    """c(x) of each row, label by label."""
    logits, of_view = model.class_logits(xs).detach(), model.class_logits(xs.flip(-1))
    if not model.multi_label:
        logits, of_view = logits.log_softmax(-1)[:, None], of_view.log_softmax(-1)[:, None]
    else:
        logits, of_view = (
            torch.stack([(1 - p).log(), p.log()], -1) for p in (logits.sigmoid(), of_view.sigmoid())
        )
    found = []
    for row in range(len(xs)):
        total = 0.0
        for label in range(logits.shape[1]):
            shares = [math.exp(s) for s in logits[row, label].tolist()]
            if max(shares) < options.threshold:
                continue
            if options.targets == "labels":
                total = total - of_view[row, label, shares.index(max(shares))]
                continue
            sharp = [s ** (1 / options.temperature) for s in shares]
            sharp = [s / sum(sharp) for s in sharp]
            for k, s in enumerate(sharp):
                total = total + s * (math.log(s) - of_view[row, label, k])
        found.append(torch.as_tensor(total, dtype=xs.dtype))
    return torch.stack(found)


def numbers(terms):
    return {name: value.item() for name, value in terms.items()}


@pytest.mark.parametrize("name", [*classifiers()])
@pytest.mark.parametrize(
    "options",
    [
        Consistency(VIEW, 2.5, threshold=0.3),
        Consistency(VIEW, 0.7, "probabilities", threshold=0.26, temperature=0.5),
    ],
    ids=lambda options: options.targets,
)
def test_every_classifier_gains_the_mean_over_its_unlabelled_rows(mirrored, name, options):
    torch.manual_seed(0)
    # Dropout and batch norm would make another function of each call.
    plain = {"batch_norm": False, "input_dropout": 0.0}
    model = MODELS[name]()
    kept = {k: v for k, v in plain.items() if k in model.options}
    if name not in ("M1M2", "CCVAE", "MultiLabelCCVAE") and kept:
        model = type(model)(**model.options | kept)
    # It relaxes attributes in training alone.
    model = model.double().train(name == "MultiLabelM2")
    data = data_for(model)
    batch = Batch(data.unlabelled_xs[:9], None, 0)
    if data.num_labelled:
        xs = torch.cat([data.labelled_xs[:4], batch.xs])
        ys = torch.cat([data.labelled_ys[:4], torch.full_like(data.labelled_ys[:9], -1)])
        batch = Batch(xs, ys, 4)
    losses = {}
    for added in (None, options):
        objective = Objective(model, 12, 48, consistency=added)
        torch.manual_seed(1)
        loss, terms = objective(batch)
        losses[added] = loss, terms
    (before, others), (after, terms) = losses[None], losses[options]
    c = by_hand(model, data.unlabelled_xs[:9], options)
    assert (c != 0).any()
    assert after.item() == pytest.approx((before + options.weight * c.mean()).item(), rel=1e-9)
    assert terms["consistency"].item() == pytest.approx(c.mean().item(), rel=1e-9)
    del terms["consistency"]
    assert numbers(terms) == pytest.approx(numbers(others))
    weights = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(after - before, weights, allow_unused=True)
    expected = torch.autograd.grad(options.weight * c.mean(), weights, allow_unused=True)
    for weight, *both in zip(weights, found, expected, strict=True):
        one, other = (torch.zeros_like(weight) if g is None else g for g in both)
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("tolerance", [0.0, 0.3, 1.0])
def test_aligned_targets_are_divided_by_their_mean_and_multiplied_by_the_prior(mirrored, tolerance):
    model = M2(**SIZES | oracle.UNREGULARISED | {"label_prior": (0.1, 0.2, 0.3, 0.4)}).double()
    xs = data_for(model).unlabelled_xs[:7]
    options = Consistency(VIEW, threshold=0.0, targets="probabilities", aligned=True)
    options = replace(options, tolerance=tolerance)
    q = model.class_logits(xs).softmax(-1).tolist()
    log_q_view = model.class_logits(xs.flip(-1)).log_softmax(-1)
    means = [sum(row[k] for row in q) / 7 for k in range(4)]
    least, most = ([p * (1 + sign * tolerance) for p in model.label_prior] for sign in (-1, 1))
    shares = [min(max(m, a), b) for m, a, b in zip(means, least, most, strict=True)]
    # With a tolerance, some classes keep their share, and not all.
    kept = sum(share == mean for share, mean in zip(shares, means, strict=True))
    assert 0 < kept < 4 if tolerance else not kept
    tallest = []
    for row, found in enumerate(options.loss(model, xs)):
        t = [q[row][k] / means[k] * shares[k] for k in range(4)]
        t = [share / sum(t) for share in t]
        tallest.append(max(t))
        expected = sum(t[k] * (math.log(t[k]) - log_q_view[row, k].item()) for k in range(4))
        assert found.item() == pytest.approx(expected, rel=1e-9)
    # The threshold is about the aligned probabilities.
    half = sorted(tallest)[3]
    some = replace(options, threshold=half - 1e-12).loss(model, xs)
    assert [bool(value) for value in some] == [most >= half for most in tallest]


def test_certain_targets_cost_nothing_where_the_view_agrees(mirrored):
    model = small_m2().double()
    with torch.no_grad():
        # Probabilities of exactly 0 and 1.
        model.classifier.layers[-1].weight.zero_()
        model.classifier.layers[-1].bias.copy_(torch.tensor([1e4, 0.0, 0.0]))
    xs = blobs().unlabelled_xs[:5].double()
    for targets in ("labels", "probabilities"):
        loss = Consistency(VIEW, targets=targets).loss(model, xs)
        assert torch.equal(loss, torch.zeros(5).double())
        (gradient,) = torch.autograd.grad(loss.sum(), model.classifier.layers[-1].bias)
        assert bool(gradient.isfinite().all())


def test_pyros_own_elbo_and_loop_have_the_same_objective(mirrored):
    data, model = blobs(), small_m2().double()
    data = replace(
        data,
        labelled_xs=data.labelled_xs.double(),
        unlabelled_xs=data.unlabelled_xs.double(),
        validation_xs=data.validation_xs.double(),
    )
    objective = Objective.of(model, data, replace(CONFIG, consistency=ANY))
    batch = next(CONFIG.batches(data).epoch(0))
    torch.manual_seed(3)
    expected, _ = objective(batch)
    guide = objective.weighted_programs()
    torch.manual_seed(3)
    loss = SVI(*guide, Adam({"lr": 0.0}), TraceEnum_ELBO(max_plate_nesting=1)).step(batch)
    assert loss == pytest.approx(expected.item(), rel=1e-9)


def trained(seed=0, **change):
    model = small_m2(input_dropout=0.2)
    return model, fit(model, blobs(), replace(CONFIG, seed=seed, consistency=ANY, **change))


def test_engines_and_compiled_steps_agree(compiled_once):
    reference, history = trained()
    assert "consistency" in history.rows[0]
    for change in ({"engine": "svi"}, {"compile": "always"}):
        model, other = trained(**change)
        for one, two in zip(reference.parameters(), model.parameters(), strict=True):
            assert torch.allclose(one, two, atol=2e-5)
        for one, two in zip(history.rows, other.rows, strict=True):
            two["seconds"] = one["seconds"]
            assert two == pytest.approx(one, rel=1e-3)
    assert other.execution == "compiled"


def test_it_is_annealed_by_its_name():
    off, _ = trained(anneal={"consistency": Anneal(0.0, 0.0, 1)})
    on, history = trained()
    assert history.rows[0]["consistency"] > 0
    pairs = list(zip(on.parameters(), off.parameters(), strict=True))
    assert not all(torch.allclose(a, b) for a, b in pairs)


def test_labels_of_others_are_learnt_from_a_confident_few():
    """One labelled row a class, moved pictures: pseudo-labels reach what one row cannot."""
    torch.manual_seed(0)
    pictures = torch.zeros(3, 1, 10, 10)
    pictures[0, 0, 2:8, 4:6] = 1
    pictures[1, 0, 4:6, 2:8] = 1
    pictures[2, 0, 2:8, 2:8] = torch.eye(6)
    ys = torch.arange(303) % 3
    xs = Augmentation(rotation=12, translation=0.1)(pictures[ys])
    data = SSLData(pictures, torch.arange(3), xs[3:], 3, xs, ys)
    view = Augmentation(rotation=12, translation=0.1)
    accuracies = []
    for consistency in (None, Consistency(view, weight=3.0, threshold=0.8)):
        torch.manual_seed(0)
        model = M2((1, 10, 10), 3, 2, (32,), alpha=3.0, input_dropout=0.0, batch_norm=False)
        config = FitConfig(steps=200, batch_size=60, consistency=consistency, keep_best=False)
        accuracies.append(fit(model, data, config).rows[-1]["validation_accuracy"])
    without, with_term = accuracies
    assert with_term > without + 0.05


@pytest.mark.parametrize(
    ("name", "consistency", "words"),
    [
        ("VAE", ANY, "of a classifier"),
        ("LatentM2", ANY, "of images"),
        ("MultiLabelM2", replace(ANY, aligned=True), "use aligned=False"),
        ("MLPClassifier", replace(ANY, aligned=True), "use aligned=False"),
    ],
)
def test_what_cannot_have_it_is_told(name, consistency, words):
    model = MODELS[name]()
    data = data_for(model, torch.float32)
    with pytest.raises(ConfigError, match=words):
        fit(model, data, FitConfig(epochs=1, consistency=consistency))


def test_options_that_cannot_work_are_named():
    for change, words in (
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"targets": "all"}, "targets is 'all'"),
        ({"temperature": 0}, "temperature is 0"),
        ({"view": "flip"}, "view is 'flip'"),
        ({"weight": -1}, "weight is -1"),
    ):
        with pytest.raises(ConfigError, match=words):
            replace(ANY, **change)
    with pytest.raises(ConfigError, match="consistency is 1"):
        FitConfig(consistency=1)
