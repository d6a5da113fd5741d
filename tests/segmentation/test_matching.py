import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from nvv.segmentation.matching import maximum_matching


@pytest.mark.parametrize("seed", range(60))
def test_matching_is_as_large_as_scipys(seed):
    generator = np.random.default_rng(seed)
    shape = generator.integers(1, 30, size=2)
    edges = generator.random(shape) < generator.choice([0.05, 0.1, 0.3])
    candidates = {row: np.flatnonzero(edges[row]).tolist() for row in range(shape[0]) if edges[row].any()}

    pairs = maximum_matching(candidates)

    assert all(edges[row, column] for row, column in pairs.items())
    assert len(set(pairs.values())) == len(pairs)
    assert len(pairs) == (maximum_bipartite_matching(csr_matrix(edges)) >= 0).sum()


def test_matching_turns_pairs_around_when_a_long_path_leads_to_the_last_free_one():
    # Each of n takes its own number first, and the last one only 0: all have to move on by one.
    number = 5000
    candidates = {at: [at, at + 1] for at in range(number)} | {number: [0]}
    pairs = maximum_matching(candidates)
    assert len(pairs) == number + 1
    assert pairs[number] == 0


def test_matching_is_empty_when_there_are_no_candidates():
    assert maximum_matching({}) == {}
