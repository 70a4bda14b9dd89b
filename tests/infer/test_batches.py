from itertools import chain

import pytest
import torch

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


def test_rows_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(ConfigError, match="labelled batch size is 5, which 2 processes"):
        MiniBatches(numbered(5, 24), 8, share=Share(0, 2))
