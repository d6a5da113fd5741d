from __future__ import annotations

import numpy as np
import pytest

from nvv.training.class_batches import class_balanced_batches

UNEQUAL = np.repeat([0, 1, 2, 3], [100, 40, 7, 3])


def _batches(labels, *, batch_size, num_places=None, seed=0):
    return class_balanced_batches(
        labels,
        num_places=len(labels) if num_places is None else num_places,
        batch_size=batch_size,
        generator=np.random.default_rng(seed),
    )


def _counts(labels, batch):
    return np.unique(np.asarray(labels)[batch], return_counts=True)[1]


@pytest.mark.parametrize("batch_size", [4, 8, 10, 13, 32])
def test_classes_of_every_batch_differ_by_one_clip_at_most(batch_size):
    batches = _batches(UNEQUAL, batch_size=batch_size)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sum(map(len, batches)) == len(UNEQUAL)
    for batch in batches:
        counts = _counts(UNEQUAL, batch)
        assert counts.max() - counts.min() <= 1
    if batch_size >= 8:  # room for two clips of each of the four classes
        assert all(len(_counts(UNEQUAL, batch)) == 4 for batch in batches[:-1])


@pytest.mark.parametrize("batch_size", [2, 3, 5, 12])
def test_no_clip_is_without_a_partner_when_classes_are_many(batch_size):
    labels = np.repeat(np.arange(16), 6)  # the audEERING report's batch of 12, the public Deeply sample's 16 classes
    for batch in _batches(labels, batch_size=batch_size)[:-1]:
        assert _counts(labels, batch).min() >= 2
        assert len(_counts(labels, batch)) == batch_size // 2


@pytest.mark.parametrize("batch_size", [4, 5, 12])
def test_classes_get_equally_many_places_over_an_epoch(batch_size):
    labels = np.repeat(np.arange(7), [90, 30, 20, 10, 5, 3, 2])
    places = np.concatenate(_batches(labels, batch_size=batch_size, num_places=60 * batch_size))
    counts = np.bincount(labels[places])
    # One batch gives a class at most three clips; whoever has fewest comes next.
    assert counts.max() - counts.min() <= 3


def test_clips_of_a_class_come_equally_often_and_rarely_twice_in_a_batch():
    batches = _batches(UNEQUAL, batch_size=8, num_places=400)
    times = np.bincount(np.concatenate(batches), minlength=len(UNEQUAL))
    for label in range(4):
        of_class = times[label == UNEQUAL]
        assert of_class.max() - of_class.min() <= 1
    assert times[UNEQUAL == 3].min() > 30  # of 100 places for three clips
    assert all(len(set(batch)) == len(batch) for batch in batches)  # two places for at least three clips


def test_clip_repeats_within_a_batch_when_its_class_is_too_small():
    [batch] = _batches([0, 0, 0, 0, 1], batch_size=6, num_places=6)
    assert sorted(batch.tolist())[-3:] == [4, 4, 4]


def test_clips_without_a_label_never_come():
    labels = np.array([0, -100, 1, -1, 0, 1])
    places = np.concatenate(_batches(labels, batch_size=4, num_places=40))
    assert set(places) == {0, 2, 4, 5}


def test_single_class_and_batches_of_one_clip_work():
    assert sorted(np.concatenate(_batches([0, 0, 0], batch_size=2)).tolist()) == [0, 1, 2]
    assert np.bincount(np.concatenate(_batches([0, 1, 0, 1], batch_size=1))).tolist() == [1, 1, 1, 1]


def test_clips_of_a_batch_are_not_sorted_by_class():
    batches = _batches(UNEQUAL, batch_size=8)
    assert any((np.diff(UNEQUAL[batch]) < 0).any() and (np.diff(UNEQUAL[batch]) > 0).any() for batch in batches)
