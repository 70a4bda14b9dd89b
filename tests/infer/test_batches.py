from itertools import chain

import pytest
import torch

from pyro_ssl import Augmentation
from pyro_ssl.data import SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer.batches import MiniBatches, Share
from tests import oracle


def numbered(labelled: int, unlabelled: int) -> SSLData:
    """Rows whose single pixel tells which they are, labelled ones first."""
    rows = labelled + unlabelled
    xs = (torch.arange(rows).float() / rows).view(rows, 1)
    ys = torch.arange(labelled) % 3
    return SSLData(xs[:labelled], ys, xs[labelled:], 3, xs[:0], ys[:0])


def row_numbers(batches, data, epoch=0):
    total = data.num_labelled + data.num_unlabelled
    for batch in batches.epoch(epoch):
        xs, ys, n = oracle.unpacked(batch)
        numbers = (xs[:, 0] * total).round().long()
        assert n == batches.labelled
        assert torch.equal(ys[:n], data.labelled_ys[numbers[:n]])
        assert (ys[n:] == -1).all()
        yield numbers[:n].tolist(), numbers[n:].tolist()


def test_an_epoch_visits_unlabelled_rows_once_and_all_labelled_rows_each_time():
    data = numbered(6, 20)
    batches = MiniBatches(data, batch_size=10, binarise=False)
    labelled, unlabelled = zip(*row_numbers(batches, data), strict=True)
    assert [sorted(part) for part in labelled] == [list(range(6))] * 2
    assert sorted(chain(*unlabelled)) == list(range(6, 26))


def test_epochs_differ_and_a_remainder_is_not_always_the_same():
    data = numbered(3, 25)
    batches = MiniBatches(data, batch_size=10, binarise=False)
    epochs = [list(chain(*(u for _, u in row_numbers(batches, data, e)))) for e in range(30)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert set().union(*epochs) == set(range(3, 28))
    assert epochs[0] != epochs[1]


def test_labelled_rows_are_visited_evenly_when_they_fill_several_batches():
    data = numbered(9, 40)
    batches = MiniBatches(data, 10, labelled_batch_size=3, steps=6, binarise=False)
    labelled = [n for part, _ in row_numbers(batches, data) for n in part]
    assert sorted(labelled) == sorted(list(range(9)) * 2)


def test_binarised_pixels_are_bernoulli_draws_with_the_pixels_as_means():
    data = numbered(2, 10)
    batches = MiniBatches(data, 10, steps=2000)
    drawn = torch.stack([batch.xs for batch in batches.epoch(0)])
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    # Five standard errors of a mean of 24,000 draws.
    means = torch.cat([data.labelled_xs, data.unlabelled_xs]).mean()
    assert abs(drawn.mean() - means) < 5 * 0.5 / 24_000**0.5


def test_orders_follow_from_seed_and_epoch_alone():
    data = numbered(3, 20)

    def order(seed, epoch):
        batches = MiniBatches(data, 10, binarise=False, seed=seed)
        return [torch.cat([batch.xs for batch in batches.epoch(e)]) for e in epoch][-1].tolist()

    assert order(0, [3]) == order(0, [0, 1, 3])
    assert order(0, [3]) != order(1, [3])


def test_processes_share_every_batch_without_overlap():
    data = numbered(6, 24)
    whole = MiniBatches(data, 8, 4, binarise=False)
    shares = [MiniBatches(data, 8, 4, binarise=False, share=Share(r, 2)) for r in range(2)]
    for every, *parts in zip(*(b.epoch(5) for b in (whole, *shares)), strict=True):
        xs, ys, n = oracle.unpacked(every)
        assert [part.num_labelled for part in parts] == [2, 2]
        labelled = torch.stack([part.xs[:2] for part in parts], 1).flatten(0, 1)
        unlabelled = torch.stack([part.xs[2:] for part in parts], 1).flatten(0, 1)
        assert torch.equal(torch.cat([labelled, unlabelled]), xs)
        assert torch.equal(torch.stack([part.ys[:2] for part in parts], 1).flatten(), ys[:n])


def former_numbers(labelled, unlabelled, batch_size, seed, epoch):
    """The row numbers of an epoch as they were drawn when it was one pass over unlabelled rows."""
    known = min(labelled, batch_size)
    steps = unlabelled // batch_size

    def order(rows, batch):
        mixed = (seed * 1_000_003 + epoch) % 2**32
        generator = torch.Generator().manual_seed(mixed)
        passes = -(-steps // (rows // batch))
        whole = rows - rows % batch
        orders = [torch.randperm(rows, generator=generator)[:whole] for _ in range(passes)]
        return torch.cat(orders).view(-1, batch)[:steps]

    return order(labelled, known).tolist(), (labelled + order(unlabelled, batch_size)).tolist()


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "batch_size"), [(100, 49_900, 200), (145, 4_855, 100), (9, 40, 10)]
)
def test_where_unlabelled_rows_need_more_steps_the_rows_drawn_are_those_of_before(
    labelled, unlabelled, batch_size
):
    data = numbered(labelled, unlabelled)
    batches = MiniBatches(data, batch_size, binarise=False, seed=4)
    assert batches.steps == unlabelled // batch_size
    for epoch in (0, 7):
        found = zip(*row_numbers(batches, data, epoch), strict=True)
        assert tuple(map(list, found)) == former_numbers(labelled, unlabelled, batch_size, 4, epoch)


def test_one_unlabelled_row_leaves_the_labelled_batches_alone():
    data = numbered(1000, 1)
    batches = MiniBatches(data, 200, binarise=False)
    assert (batches.labelled, batches.unlabelled, batches.steps) == (200, 1, 5)
    labelled, unlabelled = zip(*row_numbers(batches, data), strict=True)
    assert sorted(chain(*labelled)) == list(range(1000))
    assert list(unlabelled) == [[1000]] * 5


@pytest.mark.parametrize(
    ("rows", "sizes", "shape"),
    [
        # Rows there are, rows asked for: labelled and unlabelled rows of a batch, and steps.
        ((50, 7), (10, None), (10, 7, 5)),
        ((50, 7), (10, 20), (20, 7, 2)),
        ((50, 7), (2, 60), (50, 2, 3)),
        ((7, 50), (10, None), (7, 10, 5)),
        ((7, 50), (60, 3), (3, 50, 2)),
        ((50, 0), (60, None), (50, 0, 1)),
        ((50, 0), (60, 10), (10, 0, 5)),
        ((0, 50), (20, 10), (0, 20, 2)),
    ],
)
def test_a_batch_has_what_is_asked_for_of_each_kind_or_all_there_is(rows, sizes, shape):
    data = numbered(*rows)
    batches = MiniBatches(data, *sizes, binarise=False)
    assert (batches.labelled, batches.unlabelled, batches.steps) == shape
    found = list(row_numbers(batches, data))
    assert [(len(known), len(rest)) for known, rest in found] == [shape[:2]] * shape[2]
    # Within a pass no row comes twice.
    for drawn, there in zip(zip(*found, strict=True), rows, strict=True):
        one_pass = [n for part in drawn[: there // max(len(drawn[0]), 1)] for n in part]
        assert len(set(one_pass)) == len(one_pass)


def test_several_processes_round_down_what_there_is_and_refuse_what_one_asked_for():
    def of(labelled, unlabelled, *sizes, processes=2):
        data, shares = numbered(labelled, unlabelled), []
        for rank in range(processes):
            share = Share(rank, processes)
            shares.append(MiniBatches(data, *sizes, binarise=False, share=share))
        assert len({(b.labelled, b.unlabelled, b.steps) for b in shares}) == 1
        drawn = [chain(*(k + u for k, u in row_numbers(b, data))) for b in shares]
        rows = list(chain(*drawn))
        assert len(set(rows)) == len(rows) or shares[0].steps > 1
        return shares[0].labelled, shares[0].unlabelled, shares[0].steps

    assert of(5, 24, 8) == (2, 4, 3)
    assert of(5, 24, 8, 6) == (2, 4, 3)
    assert of(24, 5, 8) == (4, 2, 3)
    assert of(24, 11, 9, 12, processes=3) == (4, 3, 2)
    assert of(5, 0, 8) == (2, 0, 1)
    for sizes, says in (
        ((7,), "batch_size is 7, which 2 processes cannot share evenly: choose a multiple"),
        ((8, 3), "labelled_batch_size is 3, which 2 processes cannot share"),
    ):
        with pytest.raises(ConfigError, match=says):
            of(5, 24, *sizes)
    with pytest.raises(
        ConfigError, match="2 processes cannot share 1 unlabelled rows: use at most"
    ):
        of(24, 1, 8)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ((0,), "batch_size is 0, expected a whole number, at least 1"),
        ((4, 0), "labelled_batch_size is 0, expected a whole number, at least 1"),
        ((4, 2, 0), "steps is 0, expected a whole number, at least 1"),
    ],
)
def test_numbers_below_one_are_refused(sizes, says):
    with pytest.raises(ConfigError, match=says):
        MiniBatches(numbered(6, 20), *sizes)


def test_images_are_changed_anew_each_time_and_pixels_drawn_of_what_they_become():
    xs = torch.full((8, 1, 6, 6), 0.5)
    ys = torch.arange(4) % 2
    data = SSLData(xs[:4], ys, xs[4:], 2, xs[:0], ys[:0])
    change = Augmentation(translation=0.5)
    batches = MiniBatches(data, 4, 4, binarise=False, augmentation=change)
    one, two = batches.epoch(0), batches.epoch(0)
    torch.manual_seed(0)
    first = next(one)
    torch.manual_seed(0)
    assert torch.equal(change(torch.cat([xs[:4], xs[4:]])), first.xs)
    assert not torch.equal(first.xs, next(two).xs)
    drawn = MiniBatches(data, 4, 4, binarise=True, augmentation=change).draw().xs
    assert set(drawn.unique().tolist()) == {0, 1}
    rows = xs[:, 0, 0]
    table = SSLData(rows[:4], ys, rows[4:], 2, rows[:0], ys[:0])
    with pytest.raises(ConfigError, match="of images"):
        MiniBatches(table, 4, augmentation=change)
