from __future__ import annotations

import threading
import time
from itertools import count, islice

import numpy as np
import pytest

from nvv.data.batches import divided_by_length, length_sorted_batches, prefetched


def test_batches_hold_every_clip_once_and_keep_to_the_budget():
    lengths = np.random.default_rng(0).integers(1, 100, 200).tolist()
    batches = length_sorted_batches(lengths, max_batch_samples=500)
    assert sorted(index for batch in batches for index in batch) == list(range(200))
    assert all(len(batch) * max(lengths[index] for index in batch) <= 500 for batch in batches)
    in_order = [lengths[index] for batch in batches for index in batch]
    assert in_order == sorted(lengths, reverse=True)
    # No batch could have taken the first clip of the next one.
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(lengths[index] for index in batch) > 500


def test_batches_are_those_worked_out_by_hand():
    # By falling length: 6 | 5 5 (2 · 5 ≤ 10) | 3 3 2 (3 · 3 ≤ 10, a fourth would make 12) | 1
    assert length_sorted_batches([3, 1, 5, 6, 3, 5, 2], max_batch_samples=10) == [[3], [2, 5], [0, 4, 6], [1]]


def test_batches_are_smaller_when_clips_are_limited():
    assert length_sorted_batches([1, 1, 1, 1, 1], max_batch_samples=100, max_batch_clips=2) == [[0, 1], [2, 3], [4]]


def test_batch_is_a_clip_of_its_own_when_it_is_longer_than_the_budget():
    assert length_sorted_batches([50, 200, 50], max_batch_samples=100) == [[1], [0, 2]]


def test_batches_are_none_when_there_are_no_clips():
    assert length_sorted_batches([], max_batch_samples=1) == []


def test_batches_are_limited_when_clips_have_no_length():
    assert length_sorted_batches([0, 0, 0], max_batch_samples=2) == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_samples": 0}, "max_batch_samples: expected more than 0, found 0"),
        ({"max_batch_samples": 5, "max_batch_clips": 0}, "max_batch_clips: expected more than 0, found 0"),
    ],
)
def test_batches_refuse_limits_that_are_not_positive(options, message):
    with pytest.raises(ValueError, match=message):
        length_sorted_batches([1], **options)


def test_batches_refuse_negative_lengths():
    with pytest.raises(ValueError, match="lengths: expected 0 samples or more, found -3 at 1"):
        length_sorted_batches([1, -3], max_batch_samples=5)


def test_shares_have_like_length_and_not_like_count():
    lengths = [100, *[10] * 10]
    first, second = divided_by_length(lengths, num_shares=2)
    assert (len(first), len(second)) == (1, 10)
    shares = divided_by_length(np.random.default_rng(0).integers(1, 100, 500).tolist(), num_shares=3)
    assert sorted(index for share in shares for index in share) == list(range(500))


def test_shares_differ_by_no_more_than_a_clip():
    lengths = np.random.default_rng(1).integers(1, 100, 500).tolist()
    totals = [sum(lengths[index] for index in share) for share in divided_by_length(lengths, num_shares=4)]
    assert max(totals) - min(totals) <= 100


def test_shares_are_empty_when_clips_are_fewer():
    assert divided_by_length([5], num_shares=3) == [[0], [], []]
    assert [len(share) for share in divided_by_length([0, 0, 0, 0], num_shares=2)] == [2, 2]
    with pytest.raises(ValueError, match="num_shares: expected more than 0, found 0"):
        divided_by_length([5], num_shares=0)


@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_results_come_in_order_when_loading_takes_unequal_time(num_workers):
    def load(item):
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * 2

    assert list(prefetched(range(10), load, num_workers=num_workers)) == [2 * item for item in range(10)]


def test_loading_is_ahead_but_bounded():
    begun = []
    results = prefetched(count(), lambda item: begun.append(item) or item, num_workers=2)
    assert next(results) == 0
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2]
    assert list(islice(results, 3)) == [1, 2, 3]
    results.close()


def test_loading_is_in_threads_unless_there_are_no_workers():
    here = threading.current_thread().name
    assert here not in prefetched([0, 1], lambda _: threading.current_thread().name, num_workers=1)
    assert set(prefetched([0, 1], lambda _: threading.current_thread().name, num_workers=0)) == {here}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_error_comes_in_the_place_of_its_result(num_workers):
    results = prefetched([1, 2, 0, 4], lambda item: 1 / item, num_workers=num_workers)
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_threads_end_when_the_consumer_stops_early():
    before = threading.active_count()
    results = prefetched(count(), lambda item: item, num_workers=3)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_workers_cannot_be_negative():
    with pytest.raises(ValueError, match="num_workers: expected 0 or more, found -1"):
        prefetched([], str, num_workers=-1)
