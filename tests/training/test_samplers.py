from __future__ import annotations

import numpy as np
import pytest
import torch

from nvv.training.samplers import LengthSortedSampler, TrainingSampler


def _sampler(strategy="group_by_length", *, num_clips=100, batch_size=4, seed=0):
    lengths = np.random.default_rng(9).integers(1, 1_000, num_clips)
    return TrainingSampler(lengths, strategy=strategy, batch_size=batch_size, seed=seed), lengths


@pytest.mark.parametrize("strategy", ["group_by_length", "random", "sequential"])
@pytest.mark.parametrize("num_clips", [1, 3, 4, 41, 100])
def test_every_clip_comes_once_an_epoch(strategy, num_clips):
    sampler, _ = _sampler(strategy, num_clips=num_clips)
    assert sorted(index for index, _ in sampler) == list(range(num_clips))


@pytest.mark.parametrize("strategy", ["group_by_length", "random"])
def test_order_depends_on_the_epoch_and_the_seed_only(strategy):
    sampler, _ = _sampler(strategy)
    first = list(sampler)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002
    assert list(_sampler(strategy)[0]) == first
    assert list(_sampler(strategy, seed=1)[0]) != first
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for _, epoch in second} == {1}
    assert [index for index, _ in second] != [index for index, _ in first]


def test_batches_hold_like_lengths_when_grouped():
    sampler, lengths = _sampler(num_clips=400)
    random_sampler, _ = _sampler("random", num_clips=400)

    def padding_share(order):
        batches = np.array([lengths[index] for index, _ in order]).reshape(-1, 4)
        return 1 - batches.sum() / (batches.max(axis=1) * 4).sum()

    assert padding_share(sampler) < 0.1 < padding_share(random_sampler)


def test_batches_do_not_fall_in_length_when_grouped():
    sampler, lengths = _sampler(num_clips=40, batch_size=4)  # one block
    longest = np.array([lengths[index] for index, _ in sampler]).reshape(-1, 4).max(axis=1)
    assert not (np.diff(longest) <= 0).all()


def test_incomplete_batch_stays_last_when_grouped():
    sampler, lengths = _sampler(num_clips=42, batch_size=4)
    last_two = [lengths[index] for index, _ in sampler][-2:]
    # 42 clips are a block of 40 and one of 2.
    assert len(last_two) == 2
    sampler, lengths = _sampler(num_clips=10, batch_size=4)
    order = [lengths[index] for index, _ in sampler]
    assert sorted(order[-2:]) == sorted(lengths)[:2]


def test_evaluation_order_falls_in_length_and_keeps_ties_in_place():
    assert list(LengthSortedSampler([5, 9, 5, 7])) == [1, 3, 0, 2]


def _balanced(labels, *, batch_size, seed=0, epoch=0):
    sampler = TrainingSampler(
        [1] * len(labels), strategy="class_balanced", batch_size=batch_size, seed=seed, labels=labels
    )
    sampler.set_epoch(epoch)
    return [index for index, _ in sampler]


def test_class_balanced_order_depends_on_the_epoch_and_the_seed_only():
    labels = np.repeat([0, 1, 2], [30, 5, 12])
    first = _balanced(labels, batch_size=6)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002
    assert _balanced(labels, batch_size=6) == first
    assert _balanced(labels, batch_size=6, seed=1) != first
    assert _balanced(labels, batch_size=6, epoch=1) != first


def test_class_balanced_epoch_has_a_place_for_each_clip_and_says_its_number():
    labels = np.repeat([0, 1, 2], [30, 5, 12])
    sampler = TrainingSampler([1] * 47, strategy="class_balanced", batch_size=6, seed=0, labels=labels)
    sampler.set_epoch(3)
    assert len(sampler) == len(list(sampler)) == 47
    assert {epoch for _, epoch in sampler} == {3}


def test_strategies_differ():
    labels = np.repeat([0, 1], 20)
    orders = {
        strategy: [
            index
            for index, _ in TrainingSampler(
                np.arange(40), strategy=strategy, batch_size=4, seed=0, labels=labels if "class" in strategy else None
            )
        ]
        for strategy in ("group_by_length", "random", "sequential", "class_balanced")
    }
    assert len({tuple(order) for order in orders.values()}) == 4


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "needs the class of each clip"),
        ([0, 1], "one class index for each of the 3 clips"),
        ([0.0, 1.0, 2.0], "found float64"),
        ([[0], [1], [2]], r"shape \(3, 1\)"),
        ([-100, -1, -100], "every label is missing"),
    ],
)
def test_class_balanced_order_is_refused_without_usable_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        TrainingSampler([1, 2, 3], strategy="class_balanced", batch_size=2, seed=0, labels=labels)
