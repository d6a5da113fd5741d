from __future__ import annotations

import threading
import time

import pytest
import torch

from nvv.training.side_by_side import computed_batches


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_batches_are_computed_at_once_on_a_cpu_and_come_in_order(four_threads):
    together = threading.Barrier(4, timeout=20)  # breaks unless four batches are in work at the same time
    threads_of_each = []

    def compute(number):
        together.wait()
        threads_of_each.append(torch.get_num_threads())
        time.sleep(0.02 * (4 - number % 4))  # the first ends last
        return number * 10

    computed = computed_batches(range(8), lambda number: number, compute, device_type="cpu", num_workers=2)
    assert list(computed) == [number * 10 for number in range(8)]
    assert threads_of_each == [1] * 8
    assert torch.get_num_threads() == 4


def test_few_batches_have_several_threads_each(four_threads):
    seen = []
    computed = computed_batches(
        range(2),
        lambda number: number,
        lambda _: seen.append(torch.get_num_threads()),
        device_type="cpu",
        num_workers=2,
    )
    list(computed)
    assert seen == [2, 2]  # four threads, two batches


@pytest.mark.parametrize(("device_type", "num_threads"), [("cuda", 4), ("cpu", 1)])
def test_computation_stays_in_the_callers_thread_elsewhere(four_threads, device_type, num_threads):
    torch.set_num_threads(num_threads)
    computing, loading = set(), set()
    computed = computed_batches(
        range(4),
        lambda number: loading.add(threading.get_ident()) or number,
        lambda number: computing.add(threading.get_ident()) or number,
        device_type=device_type,
        num_workers=1,
    )
    assert list(computed) == [0, 1, 2, 3]
    assert computing == {threading.get_ident()}
    assert threading.get_ident() not in loading


def test_threads_are_given_back_when_a_batch_fails_or_the_caller_stops(four_threads):
    def compute(number):
        if number == 2:
            raise ValueError("c.wav: damaged")
        return number

    arguments = {"device_type": "cpu", "num_workers": 0}
    computed = computed_batches(range(6), lambda number: number, compute, **arguments)
    assert [next(computed), next(computed)] == [0, 1]  # what came before the failure is not lost
    with pytest.raises(ValueError, match="damaged"):
        next(computed)
    assert torch.get_num_threads() == 4
    stopped = computed_batches(range(2), lambda number: number, compute, **arguments)
    next(stopped)
    stopped.close()
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_batches_are_asked_for_as_results_are_taken(four_threads, device_type):
    asked = []

    def batches():
        for number in range(100):
            asked.append(number)
            yield number

    computed = computed_batches(batches(), int, int, device_type=device_type, num_workers=2)
    assert [next(computed) for _ in range(3)] == [0, 1, 2]
    assert len(asked) <= 3 + 4 + 1  # taken, in work, and one for the next free thread
    assert list(computed) == list(range(3, 100))
