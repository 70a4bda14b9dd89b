import copy
import io
import math
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pyro
import pytest
import torch
from torch import nn

from pyro_ssl.errors import CheckpointError, ConfigError, NonFiniteError
from pyro_ssl.infer import Anneal, Objective
from pyro_ssl.infer import ensemble_gradients as gradients_module
from pyro_ssl.infer.ensemble import Member, _Schedule, fit_ensemble
from pyro_ssl.infer.ensemble_batches import MemberBatches
from pyro_ssl.models import M2, GumbelSoftmaxM2
from pyro_ssl.models.rows import Batch
from tests.infer.ensembles import (
    SMALL,
    KnownNoise,
    config,
    gradients_of,
    member_batch,
    problem,
)


def plain_training(models, members, options, batch_of):
    """Train each model by Objective, plain autograd and torch's plain AdamW.

    Args:
        models: the models.
        members: their rows.
        options: of training, with a constant step size.
        batch_of: returns the batch of a step and a member.
    """
    for e, (model, member) in enumerate(zip(models, members, strict=True)):
        rows = len(member.labelled), len(member.unlabelled)
        objective = Objective(model, *rows, anneal=options.anneal).train()
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=0.01, weight_decay=options.weight_decay, foreach=False
        )
        for step in range(options.max_steps):
            objective.advance()
            own = [p for p in model.parameters() if p.requires_grad]
            _, found = gradients_of(objective, batch_of(step, e))
            for parameter, gradient in zip(own, found, strict=True):
                parameter.grad = gradient
            optimiser.step()
        model.eval()


def assert_same(models, others, tolerance=1e-9):
    for one, two in zip(models, others, strict=True):
        assert one.state_dict().keys() == two.state_dict().keys()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(
                value, two.state_dict()[name], atol=tolerance, rtol=tolerance, msg=name
            )


# The last falls back on training the models one by one: batch norm.
@pytest.mark.parametrize("name", ["M2", "MixedM2", "ConditionalM2", "SeparateNormM2"])
def test_training_is_that_of_each_model_alone_by_plain_adam(name):
    models, xs, ys, members = problem(name)
    twins = copy.deepcopy(models)
    options = config(decay=0.0, anneal={"kl_z": Anneal(3.0, 1.0, 12)})
    with KnownNoise(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = fit_ensemble(models, xs, ys, members, options)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            batches = MemberBatches(xs, ys, members, options)
            plain_training(twins, members, options, partial(member_batch, batches))
    assert history.at_once == (name != "SeparateNormM2")
    # Biases before batch norm have gradients that are rounding errors.
    assert_same(models, twins, 1e-9 if history.at_once else 1e-6)


class Transposed(nn.Module):
    """A network whose gradients are recorded as transposed views."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3))

    def forward(self, xs):
        return (xs[:, None] * self.weight.t().exp()).sum(-1)


def test_gradients_recorded_as_transposed_views_move_the_right_weights():
    _, xs, ys, members = problem("M2")
    torch.manual_seed(0)
    models = [M2(**SMALL, classifier=Transposed()).double() for _ in members]
    twins = copy.deepcopy(models)
    options = config(decay=0.0)
    with KnownNoise():
        fit_ensemble(models, xs, ys, members, options)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            batches = MemberBatches(xs, ys, members, options)
            plain_training(twins, members, options, partial(member_batch, batches))
    assert_same(models, twins)


def test_models_together_are_each_of_them_alone(monkeypatch):
    models, xs, ys, members = problem("M2", count=2)
    batches = MemberBatches(xs, ys, members, config())
    alone, call = copy.deepcopy(models), MemberBatches.__call__
    with KnownNoise():
        fit_ensemble(models, xs, ys, members, config())
        for e in range(2):

            def own(self, step, e=e):
                return tuple(t[e : e + 1] for t in call(batches, step))

            monkeypatch.setattr(MemberBatches, "__call__", own)
            fit_ensemble([alone[e]], xs, ys, [members[e]], config())
            monkeypatch.undo()
    assert_same(models, alone)
    assert not torch.allclose(
        models[0].classifier.layers[0].weight, models[1].state_dict()["classifier.layers.0.weight"]
    )


@pytest.mark.parametrize("broken", [RuntimeError("no batching rule\nand more"), ValueError("")])
def test_programs_that_cannot_be_mapped_run_one_by_one_with_one_warning(monkeypatch, broken):
    models, xs, ys, members = problem("M2")
    fallen = copy.deepcopy(models)
    options = config(anneal={"kl_z": Anneal(3.0, 1.0, 12)})
    with KnownNoise():
        assert fit_ensemble(models, xs, ys, members, options).at_once

        def fail(*args, **kwargs):
            raise broken

        monkeypatch.setattr(gradients_module, "Recorded", fail)
        with pytest.warns(UserWarning, match="one after the other") as caught:
            history = fit_ensemble(fallen, xs, ys, members, options)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.endswith("no batching rule" if str(broken) else "ValueError")
    assert not history.at_once
    assert_same(models, fallen)


def test_batch_norm_keeps_statistics_of_each_members_rows():
    models, xs, ys, members = problem("BatchNormM2", count=2)
    members = [Member(np.arange(6), np.arange(6, 20)), Member(np.arange(6), np.arange(20, 40))]
    xs[20:] += 500
    with pytest.warns(UserWarning, match="num_batches_tracked changes in training"):
        fit_ensemble(models, xs, ys, members, config(max_steps=3))
    counts = [model.classifier.norms[0].num_batches_tracked.item() for model in models]
    assert counts == [3, 3]
    means = [model.classifier.norms[0].running_mean for model in models]
    assert (means[0] - means[1]).abs().max() > 5


def rates(options, measures=None):
    """The step sizes of a run, its checks, and why it ended."""
    schedule, found, made, checks = _Schedule(options), [], 0, []
    values = iter(measures) if measures is not None else None
    reason = "max_steps"
    while made < schedule.end:
        steps = schedule.next_steps(made)
        found += [schedule.rate(step) for step in steps]
        made += len(steps)
        checks.append(made)
        if schedule.advance(made, next(values) if values else None):
            reason = schedule.reason
    return found, checks, reason


def test_without_a_measure_the_rate_falls_so_as_to_end_at_max_steps():
    found, checks, reason = rates(config(max_steps=300, check_every=70, min_steps=0))
    assert reason == "max_steps"
    assert checks == [70, 140, 200, 270, 300]
    assert found[:200] == [0.01] * 200
    expected = [0.005 * (1 + math.cos(math.pi * n / 100)) for n in range(100)]
    assert found[200:] == pytest.approx(expected)


def test_the_rate_falls_after_patience_checks_without_a_better_measure():
    options = config(max_steps=3000, check_every=10, min_steps=0, patience=3)
    found, checks, reason = rates(options, [1, 2, 1.5, 2, 1, *[9] * 99])
    assert reason == "no better measure"
    # Best at 20, then three checks; half as many steps to fall.
    assert found[:50] == [0.01] * 50
    assert found[51] < 0.01
    assert len(found) == 75
    assert checks[-3:] == [60, 70, 75]


def test_the_rate_never_falls_before_min_steps():
    options = config(max_steps=3000, check_every=10, min_steps=95, patience=1)
    found, _, reason = rates(options, [0.0] * 999)
    assert reason == "no better measure"
    assert found[:100] == [0.01] * 100
    assert len(found) == 150


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100, 101])
@pytest.mark.parametrize("decay", [0.0, 0.5, 3.0])
def test_no_run_is_longer_than_max_steps(most, decay):
    rising = range(10**6)
    for measures in (None, rising, [math.nan] * 1000):
        options = config(max_steps=most, check_every=3, decay=decay, min_steps=most)
        found, _, reason = rates(options, measures)
        assert len(found) == most
        # Without a fall, the last check may find that patience was over.
        assert reason == "max_steps" or (decay == 0 and measures is not None)


def test_history_and_calls_of_a_run():
    models, xs, ys, members = problem("M2", count=2)
    seen, checks = [], []

    def measure():
        assert not any(model.training for model in models)
        seen.append(models[1].classifier.layers[0].weight.clone())
        return -float(len(seen))

    options = config(max_steps=90, check_every=5, patience=2)
    history = fit_ensemble(models, xs, ys, members, options, measure, checks.append)
    assert history.termination == "no better measure"
    assert [row["step"] for row in history.rows] == checks == [5, 10, 15, 20, 23]
    assert [row["measure"] for row in history.rows] == [-1, -2, -3, -4, -5]
    assert history.steps == 23
    assert all(math.isfinite(row["loss"]) for row in history.rows)
    # The models have their present weights at each call.
    assert all(not torch.equal(a, b) for a, b in pairwise(seen))
    assert torch.equal(seen[-1], models[1].classifier.layers[0].weight)


def test_rows_are_drawn_in_proportion_to_their_weights():
    weights = np.arange(40.0)
    member = Member(np.arange(5, 10), np.arange(20, 40), weights)
    _, xs, ys, _ = problem("M2")
    xs[:, 0] = torch.arange(40.0)
    options = config(max_steps=2000, labelled_batch_size=5, batch_size=10)
    batches = MemberBatches(xs, ys, [member, member], options)
    drawn = torch.stack([batches(step)[0][..., 0] for step in range(2000)]).long()
    for part, rows in ((drawn[..., :5], member.labelled), (drawn[..., 5:], member.unlabelled)):
        shares = weights[rows] / weights[rows].sum()
        for e in range(2):
            counts = np.bincount(part[:, e].flatten(), minlength=40)
            assert counts.sum() == counts[rows].sum() == part[:, e].numel()
            error = np.sqrt(counts.sum() * shares * (1 - shares))
            assert (abs(counts[rows] - counts.sum() * shares) < 4.5 * error).all()
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


def test_without_weights_rows_are_drawn_in_passes():
    _, xs, ys, _ = problem("M2")
    xs[:, 0] = torch.arange(40.0)
    member = Member(np.arange(12), np.arange(12, 33))
    options = config(max_steps=10, labelled_batch_size=6, batch_size=7)
    batches = MemberBatches(xs, ys, [member], options)
    drawn = torch.stack([batches(step)[0][0, :, 0] for step in range(10)]).long()
    for step in range(0, 10, 2):
        assert sorted(drawn[step : step + 2, :6].flatten().tolist()) == list(range(12))
    for step in range(0, 9, 3):
        assert sorted(drawn[step : step + 3, 6:].flatten().tolist()) == list(range(12, 33))


def test_members_see_labels_of_their_labelled_rows_alone():
    models, xs, ys, members = problem("M2")
    others = copy.deepcopy(models)
    changed = ys.clone()
    used = np.unique(np.concatenate([m.labelled for m in members]))
    changed[np.setdiff1d(np.arange(40), used)] = -1
    # And a label that but the first member sees moves but the first member.
    changed[0] = (ys[0] + 1) % 3
    assert [0 in m.labelled for m in members] == [True, False, False]
    with KnownNoise():
        fit_ensemble(models, xs, ys, members, config(max_steps=6))
        fit_ensemble(others, xs, changed, members, config(max_steps=6))
    assert_same(models[1:], others[1:], 0)
    pairs = zip(models[0].parameters(), others[0].parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


KINDS_MISSING = {
    "no unlabelled": [(range(8), ()), (range(4, 14), ())],
    "no labelled": [((), range(20)), ((), range(10, 40))],
    "some lack one": [(range(8), ()), ((), range(10, 40)), (range(8), range(8, 40))],
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", KINDS_MISSING)
def test_members_without_rows_of_a_kind(case, weighted, monkeypatch):
    rows = [(np.array(a, int), np.array(b, int)) for a, b in KINDS_MISSING[case]]
    weights = np.linspace(0.5, 2, 40) if weighted else None
    members = [Member(a, b, weights) for a, b in rows]
    models, xs, ys, _ = problem("M2", count=len(members))
    unknown = ys.clone()
    unknown[8:] = -1 if case != "no unlabelled" else ys[8:]
    if case == "no labelled":
        unknown[:] = -1
    twins = copy.deepcopy(models)
    options = config(max_steps=4, decay=0.0)
    batches = MemberBatches(xs, unknown, members, options)

    def batch_of(step, e):
        """The member's batch without the rows that stand in for those it lacks."""
        found, known = (t[e] for t in batches(step))
        split = batches.num_labelled
        first = 0 if len(rows[e][0]) else split
        last = None if len(rows[e][1]) else split
        return Batch(found[first:last], known[first:last], split - first)

    with KnownNoise():
        fit_ensemble(models, xs, unknown, members, options)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            plain_training(twins, members, options, batch_of)
    # Rows of either kind have noise of their own, equal with or without the others.
    assert_same(models, twins)


def test_refusals():
    models, xs, ys, members = problem("M2")
    other = GumbelSoftmaxM2(**SMALL).double()
    taller = M2(**SMALL | {"latent_dim": 3}).double()
    frozen = copy.deepcopy(models[1])
    frozen.decoder.requires_grad_(False)
    cases = [
        ([*models[:2], other], members, "several classes, GumbelSoftmaxM2, M2"),
        ([*models[:2], taller], members, "models 0 and 2 differ in latent_dim"),
        (
            [*models[:2], copy.deepcopy(models[2]).float()],
            members,
            "0 and 2 differ in shape, dtype",
        ),
        ([models[0], frozen, models[2]], members, "0 and 1 differ in shape, dtype"),
        ([models[0], models[1], models[0]], members, "share parameters"),
        (models[:2], members, "2 models and 3 members"),
        ([], [], "0 models and 0 members"),
    ]
    none = np.arange(0)
    weights = np.ones(40)
    weights[:9] = 0
    for wrong, text in (
        (Member(none, none), "member 2 of an ensemble has no rows"),
        (Member(np.arange(3), np.arange(30, 41)), "member 2 has rows 0 to 40, but .* 0 to 39"),
        (Member(np.array([-1]), none), "member 2 has rows -1 to -1"),
        (Member(np.arange(3), np.arange(9, 20), weights), "all labelled rows of member 2 are 0"),
        (Member(np.arange(3), none, np.ones(39)), "weights of member 2 are not 40 finite"),
        (Member(np.arange(3), none, np.full(40, -1.0)), "weights of member 2 are not 40 finite"),
    ):
        cases.append((models, [*members[:2], wrong], text))
    for these, of, text in cases:
        with pytest.raises(ConfigError, match=text):
            fit_ensemble(these, xs, ys, of, config())
    unknown = ys.clone()
    unknown[3] = -1
    with pytest.raises(ConfigError, match="labelled rows of member 0 have no label"):
        fit_ensemble(models, xs, unknown, members, config())
    with pytest.raises(ConfigError, match="anneal or term_weights has the key 'kl_q'"):
        fit_ensemble(models, xs, ys, members, config(anneal={"kl_q": Anneal(1, 2, 3)}))
    for option in ("max_steps", "check_every", "patience", "batch_size"):
        with pytest.raises(ConfigError, match=f"{option} is 0"):
            config(**{option: 0})


def test_a_loss_that_is_not_finite_names_member_and_step():
    models, xs, ys, members = problem("M2", count=2)
    before = copy.deepcopy(models)
    members = [Member(np.arange(10), np.arange(10, 30)), Member(np.arange(10), np.arange(30, 40))]
    xs[35] = torch.nan
    with pytest.raises(NonFiniteError, match=r"member 1 of an ensemble .* in step [01]:") as caught:
        fit_ensemble(models, xs, ys, members, config())
    assert caught.value.step in (0, 1)
    # The models are usable after all: none has a part of another's memory.
    assert owned_bytes(models[0]) == owned_bytes(before[0])


def owned_bytes(model):
    return sum(p.untyped_storage().nbytes() for p in model.parameters())


def test_models_are_their_own_afterwards():
    models, xs, ys, members = problem("M2")
    fresh = copy.deepcopy(models[0])
    fit_ensemble(models, xs, ys, members, config(max_steps=3))
    for model in models:
        assert not model.training
        assert owned_bytes(model) == owned_bytes(fresh)
        assert all(p.grad is None and p.is_leaf and p.requires_grad for p in model.parameters())
        sizes = []
        for each in (model, copy.deepcopy(model), fresh):
            file = io.BytesIO()
            torch.save(each.state_dict(), file)
            sizes.append(len(file.getvalue()))
        assert len(set(sizes)) == 1
    storages = [p.untyped_storage().data_ptr() for m in models for p in m.parameters()]
    assert len(set(storages)) == len(storages)
    other = models[1].classifier.layers[0].weight.clone()
    models[0].classifier.layers[0].weight.data.zero_()
    assert torch.equal(models[1].classifier.layers[0].weight, other)
    # They go on training, also alone.
    Objective(models[2], 8, 30).train()(
        member_batch(MemberBatches(xs, ys, members, config()), 0, 0)
    )[0].backward()


@pytest.mark.parametrize("at_once", [True, False])
def test_annealed_options_have_their_final_values(at_once, monkeypatch):
    _, xs, ys, members = problem("M2")
    models = [GumbelSoftmaxM2(**SMALL).double() for _ in members]
    values = []
    if not at_once:
        monkeypatch.setattr(gradients_module, "Recorded", None)
    options = config(max_steps=8, check_every=4, anneal={"temperature": Anneal(1.0, 0.5, 6)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = fit_ensemble(
            models,
            xs,
            ys,
            members,
            options,
            on_check=lambda step: values.append([float(m.annealed_temperature) for m in models]),
        )
    assert history.at_once == at_once
    assert values[0] == pytest.approx([0.75] * 3)
    assert values[-1] == pytest.approx([0.5] * 3)


def test_frozen_parts_stay_and_differ_between_members():
    models, xs, ys, members = problem("M1M2")
    before = copy.deepcopy(models)
    fit_ensemble(models, xs, ys, members, config(max_steps=3))
    for model, then in zip(models, before, strict=True):
        assert_same([model.vae], [then.vae], 0)
        assert not torch.equal(model.encoder.layers[1].weight, then.encoder.layers[1].weight)


def test_runs_follow_their_seed_and_leave_everything_else_alone():
    found = []
    for seed in (0, 0, 1):
        models, xs, ys, members = problem("M2")
        torch.manual_seed(seed + 50)
        pyro.get_param_store().clear()
        kept = pyro.param("kept", torch.ones(2))
        states = torch.get_rng_state(), np.random.get_state()[1].copy()
        fit_ensemble(models, xs, ys, members, config(seed=seed))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all()
        assert list(pyro.get_param_store().keys()) == ["kept"]
        assert pyro.param("kept") is kept
        found.append(models)
    pyro.get_param_store().clear()
    assert_same(found[0], found[1], 0)
    weights = [models[0].classifier.layers[0].weight for models in found]
    assert not torch.equal(weights[0], weights[2])


def test_an_ensemble_learns():
    torch.manual_seed(0)
    ys = torch.arange(300) % 3
    xs = torch.randn(300, 6) + 3 * nn.functional.one_hot(ys, 6)
    models = [M2(**SMALL | {"hidden_dims": (16,)}) for _ in range(3)]
    members = [Member(np.arange(e, e + 30), np.arange(40, 300)) for e in range(3)]
    options = config(max_steps=300, batch_size=32, labelled_batch_size=32)
    history = fit_ensemble(models, xs, ys, members, options)
    assert history.rows[-1]["loss"] < history.rows[0]["loss"] - 0.5
    for model in models:
        assert (model.predict_proba(xs).argmax(-1) == ys).float().mean() > 0.9


class Stopped(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("name", ["M2", "BatchNormM2"])
def test_a_resumed_run_is_the_same_bit_for_bit(name, tmp_path):
    path = tmp_path / "run.pt"
    options = config(max_steps=30, patience=2, anneal={"kl_z": Anneal(3.0, 1.0, 12)})
    values = [1.0, 0.5, 0.25, 0.1, 0.0, 0.0]

    def stop(step):
        torch.rand(3)
        if step == 10:
            raise Stopped

    def run(seed=0, begin=0, **kwargs):
        models, xs, ys, members = problem(name)
        given = iter(values[begin:])
        for model in models:
            for parameter in model.parameters():
                parameter.data += seed
        history = fit_ensemble(models, xs, ys, members, options, lambda: next(given), **kwargs)
        return models, history

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, history = run()
        with pytest.raises(Stopped):
            run(checkpoint=path, on_check=stop)
        resumed, later = run(seed=1, begin=2, checkpoint=path, resume=True)
        ended, last = run(seed=2, checkpoint=path, resume=True)
    assert_same(resumed, whole, 0)
    assert_same(ended, whole, 0)
    assert later == history == last
    assert history.termination == "no better measure"


def test_files_that_no_run_can_resume_from(tmp_path):
    models, xs, ys, members = problem("M2")
    path = tmp_path / "run.pt"
    arguments = models, xs, ys
    with pytest.raises(CheckpointError, match=r"no checkpoint .*run.pt to resume"):
        fit_ensemble(*arguments, members, config(max_steps=2), checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match="checkpoint is None"):
        fit_ensemble(*arguments, members, config(max_steps=2), resume=True)
    fit_ensemble(*arguments, members, config(max_steps=2), checkpoint=path)
    for other, of, text in (
        (config(max_steps=2, seed=3), members, "other seed:"),
        (config(max_steps=2), [*members[1:], members[0]], "other members:"),
    ):
        with pytest.raises(CheckpointError, match=text):
            fit_ensemble(*arguments, of, other, checkpoint=path, resume=True)
    labelled = members[0].labelled[:2]
    swapped = ys.clone()
    swapped[labelled] = (ys[labelled] + 1) % 3
    for inputs, labels, text in ((xs + 1, ys, "other inputs:"), (xs, swapped, "other labels:")):
        with pytest.raises(CheckpointError, match=text):
            fit_ensemble(
                models, inputs, labels, members, config(max_steps=2), checkpoint=path, resume=True
            )
    torch.save({"format": "else"}, path)
    with pytest.raises(CheckpointError, match="not a 'pyro_ssl ensemble 1' file"):
        fit_ensemble(*arguments, members, config(max_steps=2), checkpoint=path, resume=True)
