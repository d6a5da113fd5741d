from itertools import pairwise

import numpy as np
import pytest

from nvv.segmentation.detection import active_cells, find_events, find_stretches
from nvv.segmentation.levels import FRAME_SECONDS
from nvv.segmentation.plan import SegmentationPlan
from nvv.segmentation.settings import SegmentationSettings


def active(scores, **options):
    options = {"thresholds": [0.5] * np.shape(scores)[1], "releases": [0.3] * np.shape(scores)[1], **options}
    return active_cells(np.asarray(scores, dtype=float), **options).astype(int).T.tolist()


def test_label_goes_on_at_its_threshold_and_stays_on_down_to_its_release():
    scores = [[0.35], [0.4], [0.5], [0.31], [0.29], [0.4], [0.49]]
    # The last two never reach the threshold.
    assert active(scores) == [[1, 1, 1, 1, 0, 0, 0]]


def test_each_label_has_its_own_threshold():
    scores = [[0.45, 0.45]]
    assert active(scores, thresholds=[0.4, 0.5], releases=[0.4, 0.5]) == [[1], [0]]


def test_what_was_not_heard_is_off_and_parts_what_is_beside_it():
    assert active([[0.4], [np.nan], [0.6]]) == [[0, 0, 1]]


def test_higher_score_wins_among_rivals_only():
    scores = [[0.6, 0.7], [0.8, 0.6]]
    assert active(scores) == [[1, 1], [1, 1]]
    assert active(scores, rivals=[(0, 1)]) == [[0, 1], [1, 0]]


def test_rival_that_reached_its_threshold_comes_before_one_that_only_stays_on():
    # The second label's threshold is low: 0.35 is enough for it, and 0.4 is not for the first.
    scores = [[0.6, 0.1], [0.4, 0.35]]
    assert active(scores, thresholds=[0.5, 0.3], releases=[0.3, 0.2], rivals=[(0, 1)]) == [[1, 0], [0, 1]]


def test_rest_of_a_loser_goes_off_when_it_never_reached_its_threshold_there():
    # The first label reaches its threshold in the middle only, where the second one wins.
    scores = [[0.4, 0.1], [0.55, 0.9], [0.4, 0.1]]
    assert active(scores, rivals=[(0, 1)]) == [[0, 0, 0], [0, 1, 0]]


BORDERS = np.arange(0, 10.5, 0.5)


def stretches(rows, **options):
    cells = np.zeros((20, len(rows)), dtype=bool)
    for column, spans in enumerate(rows):
        for first, stop in spans:
            cells[first:stop, column] = True
    return [(one.column, one.first, one.stop) for one in find_stretches(cells, borders_s=BORDERS, **options)]


def test_gaps_are_closed_up_to_their_greatest_length():
    rows = [[(1, 3), (4, 6), (8, 9)]]  # gaps of 0.5 and 1.0 s
    assert stretches(rows, max_gap_s=0.4) == [(0, 1, 3), (0, 4, 6), (0, 8, 9)]
    assert stretches(rows, max_gap_s=0.5) == [(0, 1, 6), (0, 8, 9)]
    assert stretches(rows, max_gap_s=1.0) == [(0, 1, 9)]


def test_gap_stays_where_a_rival_is_on():
    rows = [[(1, 3), (4, 6)], [(3, 4)]]
    assert stretches(rows, max_gap_s=1.0) == [(0, 1, 6), (1, 3, 4)]
    assert stretches(rows, max_gap_s=1.0, rivals=[(0, 1)]) == [(0, 1, 3), (1, 3, 4), (0, 4, 6)]


def make_plan(labels=("a", "b", "c"), *, rivals=(), **fields):
    return SegmentationPlan(
        settings=SegmentationSettings(**fields),
        window_samples=16_000,
        hop_samples=4_000,
        num_smoothed=1,
        groups=(),
        columns=tuple(range(len(labels))),
        labels=labels,
        thresholds=(0.5,) * len(labels),
        releases=(0.4,) * len(labels),
        rivals=rivals,
    )


def silence(seconds):
    return np.full(round(seconds / FRAME_SECONDS), -60.0, np.float32)


def test_event_spans_its_cells_and_has_their_mean_score():
    scores = np.array([[0.1], [0.6], [0.9], [0.45], [0.2]])
    (event,) = find_events(
        make_plan(("a",)), scores, borders_s=np.array([0, 0.25, 0.5, 0.75, 1.0, 1.4]), levels=silence(1.4)
    )
    assert (event.start_s, event.end_s, event.label) == (0.25, 1.0, "a")
    assert event.score == pytest.approx((0.6 + 0.9 + 0.45) / 3)


def test_short_events_are_dropped():
    scores = np.array([[0.9], [0.1], [0.9], [0.9], [0.1]])
    borders = np.arange(6) * 0.25
    found = find_events(
        make_plan(("a",), min_event_seconds=0.5, max_gap_seconds=0.0), scores, borders_s=borders, levels=silence(1.25)
    )
    assert [(event.start_s, event.end_s) for event in found] == [(0.5, 1.0)]


def test_ends_move_to_the_sound_unless_that_is_switched_off():
    scores = np.array([[0.1], [0.9], [0.9], [0.9], [0.1], [0.1]])
    levels = silence(1.5)
    levels[20:48] = -20.0  # 0.4 to 0.96 s
    borders = np.arange(7) * 0.25
    for refine, expected in ((True, (0.4, 0.96)), (False, (0.25, 1.0))):
        (event,) = find_events(make_plan(("a",), refine_ends=refine), scores, borders_s=borders, levels=levels)
        assert (event.start_s, event.end_s) == expected


@pytest.mark.parametrize("rivals", [(), ((0, 1, 2),), ((0, 2),)])
def test_events_never_overlap_that_may_not_whatever_the_scores_and_levels(rivals):
    generator = np.random.default_rng(3)
    num_events = 0
    for _ in range(60):
        cells = int(generator.integers(1, 40))
        borders = np.arange(cells + 1) * 0.25
        borders[-1] += generator.uniform(-0.125, 0.125)
        scores = generator.random((cells, 3)) ** generator.uniform(0.5, 2)
        scores[generator.random(cells) < 0.1] = np.nan
        # Bursts of sound that have nothing to do with the scores.
        levels = np.repeat(generator.uniform(-70, -10, 400), generator.integers(1, 12, 400)).astype(np.float32)
        levels = levels[: int(np.ceil(borders[-1] / FRAME_SECONDS))]
        plan = make_plan(rivals=rivals, max_gap_seconds=float(generator.choice([0.0, 0.25, 0.5])))
        events = find_events(plan, scores, borders_s=borders, levels=levels)
        num_events += len(events)
        assert list(events) == sorted(events, key=lambda event: (event.start_s, event.label))
        for event in events:
            assert 0 <= event.start_s < event.end_s <= borders[-1]
            assert 0 < event.score <= 1
        apart = [{label} for label in "abc"] + [{"abc"[column] for column in group} for group in rivals]
        for labels in apart:
            of_labels = [event for event in events if event.label in labels]
            for one, following in pairwise(of_labels):
                assert one.end_s <= following.start_s
    assert num_events > 100
