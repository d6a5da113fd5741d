import numpy as np
import pytest

from nvv.data.audit.fingerprint import Fingerprint, fingerprint
from nvv.data.audit.index import find_candidates, popcount


@pytest.fixture(scope="module")
def noises() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(16_000) for _ in range(12)]  # 2 s each


def test_popcount_counts_bits():
    numbers = np.array([0, 1, 3, 0x80000001, 0xFFFFFFFF, 0x00010000], dtype=np.uint32)
    assert popcount(numbers).tolist() == [0, 1, 2, 2, 32, 1]


def test_different_recordings_are_no_candidates(noises):
    assert find_candidates([fingerprint(noise) for noise in noises]).tolist() == []


def test_copy_is_found_with_its_lag(noises):
    late = np.pad(noises[3], (40 * 128, 0))  # forty frames of silence
    found = find_candidates([fingerprint(noise) for noise in [*noises, late]]).tolist()
    assert found == [[3, 12, 40]]


def test_lag_is_negative_when_the_second_clip_begins_earlier(noises):
    late = np.pad(noises[3], (40 * 128, 0))
    assert find_candidates([fingerprint(late), fingerprint(noises[3])]).tolist() == [[0, 1, -40]]


def test_excerpt_is_found(noises):
    # 5,120 samples are forty frames.
    found = find_candidates(
        [fingerprint(noises[0]), fingerprint(noises[1]), fingerprint(noises[1][5_120:9_216])]
    ).tolist()
    assert found == [[1, 2, -40]]


def test_copy_is_found_when_its_weakest_bits_are_turned(noises):
    reference = fingerprint(noises[0])
    flips = (1 << reference.weak.astype(np.uint32)).sum(axis=1, dtype=np.uint32)
    turned = Fingerprint(reference.words ^ flips, reference.weak, reference.active, reference.start)
    assert find_candidates([reference, turned]).tolist() == [[0, 1, 0]]


def test_copy_is_not_found_when_other_bits_of_every_key_are_turned(noises):
    reference = fingerprint(noises[0])
    strong = np.array([[bit for bit in range(22) if bit not in weak][:5] for weak in reference.weak.tolist()])
    flips = (1 << strong.astype(np.uint32)).sum(axis=1, dtype=np.uint32)
    turned = Fingerprint(reference.words ^ flips, reference.weak, reference.active, reference.start)
    assert find_candidates([reference, turned]).tolist() == []


def test_many_copies_hang_together_although_their_keys_are_common(noises):
    rng = np.random.default_rng(1)
    copies = [noises[0] + 0.02 * rng.standard_normal(len(noises[0])) for _ in range(100)]
    reached, waiting = {0}, [0]
    neighbours = {number: set() for number in range(100)}
    for first, second, lag in find_candidates([fingerprint(copy) for copy in copies]).tolist():
        assert lag == 0
        neighbours[first].add(second)
        neighbours[second].add(first)
    while waiting:
        new = neighbours[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    assert len(reached) == 100


def test_clips_without_sound_are_passed_over(noises):
    found = find_candidates([None, fingerprint(noises[0]), None, fingerprint(noises[0])]).tolist()
    assert found == [[1, 3, 0]]


@pytest.mark.parametrize("clips", [[], [None], [None, None]])
def test_nothing_is_found_when_there_is_nothing_to_compare(clips):
    assert find_candidates(clips).tolist() == []
