"""Two processes with gloo, against one that does the work of both."""

from dataclasses import replace

import pytest
import torch
from torch import distributed, multiprocessing

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.infer import Anneal, FitConfig, Objective, fit, load_checkpoint
from pyro_ssl.infer.batches import Share
from pyro_ssl.infer.penalty import Penalty
from pyro_ssl.infer.processes import leave_processes, shared_gradients
from pyro_ssl.models import MLPClassifier
from tests import oracle
from tests.infer.problems import blobs, small_m2

CONFIG = FitConfig(
    epochs=3,
    batch_size=36,
    learning_rate=0.01,
    learning_rate_schedule="constant",
    binarise=False,
    keep_best=False,
    anneal={"kl_z": Anneal(0.0, 1.0, 8)},
    max_gradient_norm=0.5,
    l2=1e-3,
)


def classifier():
    torch.manual_seed(0)
    return MLPClassifier((1, 4, 4), 3, hidden_dims=(8,), **oracle.UNREGULARISED)


def run(rank, function, folder):
    torch.set_num_threads(1)
    # By a file, since another process may take a port that was free a moment ago.
    meeting = (folder / "meeting").resolve().as_uri()
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    torch.save(function(folder), folder / f"{rank}.pt")
    leave_processes()


def in_two_processes(function, folder):
    """Return what `function(folder)` returned in each."""
    multiprocessing.spawn(run, (function, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def objective_of(model):
    """With a penalty and a weight, which must be there once and not once a process."""
    anneal = {"labelled_bound": Anneal(0.3, 0.3, 1)}
    return Objective(model, 12, 108, anneal=anneal, penalty=Penalty(model, 0.0, 0.02, ".*weight"))


def gradients_of_a_share(folder):
    """Half a batch's gradient, averaged over both processes; the classifier draws no noise."""
    data, share = blobs(), Share(distributed.get_rank(), 2)
    model = classifier().double()
    objective = objective_of(model)
    batch = next(CONFIG.batches(data, share).epoch(0))
    # Kept in a variable: it must live until the backward pass, which it watches.
    shared = shared_gradients(objective)
    loss, _ = shared(replace(batch, xs=batch.xs.double()))
    loss.backward()
    return [p.grad for p in model.parameters()]


def fit_of_odd_rows(folder):
    """Of 11 labelled rows two processes take 5 each, of a single step in a cut epoch as well."""
    data, path = blobs(labels=11), folder / "run.pt"
    seen, config = [], replace(CONFIG, epochs=40, steps=4, select="bound", keep_best=True)
    model = small_m2()
    model.encoder.register_forward_hook(lambda m, inputs, output: seen.append(len(output)))
    rows = fit(model, data, config, checkpoint=path).rows
    again = fit(small_m2(seed=3), data, config, checkpoint=path, resume=True).rows
    config = load_checkpoint(path)["config"]
    sizes = [config[name] for name in ("batch_size", "labelled_batch_size", "epochs")]
    with pytest.raises(ConfigError, match="labelled_batch_size is 11, which 2 processes cannot"):
        fit(small_m2(), data, replace(CONFIG, labelled_batch_size=11))
    return len(rows), [r["loss"] for r in rows] == [r["loss"] for r in again], sizes, set(seen)


def test_rows_that_two_processes_cannot_share_evenly_are_rounded_down(found):
    for epochs, resumed, sizes, rows in found(fit_of_odd_rows)[0]:
        assert (epochs, resumed, sizes) == (2, True, [36, 10, 2])
        assert 5 in rows


def all_of_it(folder):
    parts = PARTS
    folders = [folder / part.__name__ for part in parts]
    return {part.__name__: part(place) for part, place in zip(parts, folders, strict=True)}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes return of every part: it takes seconds to start them."""
    folder = tmp_path_factory.mktemp("processes")
    for part in PARTS:
        (folder / part.__name__).mkdir()
    (folder / fit_that_ends_early.__name__ / "there.pt").write_text("")
    results = in_two_processes(all_of_it, folder)
    return lambda part: ([each[part.__name__] for each in results], folder / part.__name__)


def test_gradient_is_that_of_a_single_process(found):
    data, model = blobs(), classifier().double()
    batch = next(CONFIG.batches(data).epoch(0))
    loss, terms = objective_of(model)(replace(batch, xs=batch.xs.double()))
    # Each process adds the whole penalty, and weighs by the whole weight: a mean has them once.
    cross_entropy = -terms["labelled_log_prob_y"] * data.num_labelled / 120
    torch.testing.assert_close(loss.detach(), 0.3 * cross_entropy + terms["penalty"])
    assert terms["penalty"] > 0.01
    loss.backward()
    for theirs in found(gradients_of_a_share)[0]:
        torch.testing.assert_close(theirs, [p.grad for p in model.parameters()])


def fit_m2(folder):
    """Two epochs and an interrupt, resumed; and the same run without one."""
    kwargs = {"batch_norm": True, "input_dropout": 0.2}
    whole, parted = small_m2(**kwargs), small_m2(seed=4, **kwargs)
    rows = fit(whole, blobs(), CONFIG).rows
    path = folder / "run.pt"
    fit(small_m2(**kwargs), blobs(), replace(CONFIG, epochs=2), checkpoint=path)
    fit(parted, blobs(), CONFIG, checkpoint=path, resume=True)
    losses = torch.tensor([row["loss"] for row in rows])
    return [whole.state_dict(), parted.state_dict(), losses]


def test_fit_leaves_the_same_parameters_on_both_and_resumes(found):
    (first, second), folder = found(fit_m2)
    for state in (*first[1:2], *second[:2]):
        assert all(torch.equal(state[k], first[0][k]) for k in state)
    assert torch.equal(first[2], second[2])
    start = small_m2(batch_norm=True, input_dropout=0.2).state_dict()
    assert any(not torch.equal(first[0][k], start[k]) for k in start)
    checkpoint = load_checkpoint(folder / "run.pt")
    noise = [states["cpu"] for states in checkpoint["rng"]]
    assert not torch.equal(*noise)
    with pytest.raises(CheckpointError, match="written by 2 processes, this run has 1"):
        fit(
            small_m2(batch_norm=True, input_dropout=0.2),
            blobs(),
            CONFIG,
            checkpoint=folder / "run.pt",
            resume=True,
        )


def fit_that_ends_early(folder):
    """An error of the first process, and callbacks, which it alone is asked, that stop the run."""
    with pytest.raises(ConfigError) as caught:
        fit(small_m2(), blobs(), CONFIG, checkpoint=folder / "there.pt")

    def stop(progress):
        assert distributed.get_rank() == 0
        progress.stop()

    histories = [fit(small_m2(), blobs(), CONFIG, **{how: stop}) for how in ("on_epoch", "on_step")]
    return str(caught.value), [(history.termination, len(history.rows)) for history in histories]


def test_what_ends_the_first_process_ends_both(found):
    for message, ends in found(fit_that_ends_early)[0]:
        assert "exists already" in message
        assert ends == [("callback", 1), ("callback", 1)]


# What `found` runs, in this order.
PARTS = (gradients_of_a_share, fit_m2, fit_that_ends_early, fit_of_odd_rows)
