import math

import numpy as np
import pytest
import sed_eval

from nvv.segmentation.event_scores import EventScoreError, event_scores, scores_table
from nvv.segmentation.events import Event

COUNTS = ("references", "estimates", "correct", "substitutions", "deletions", "insertions")


def event(start, end, label="laugh"):
    return Event(start_s=start, end_s=end, label=label)


def random_events(generator, *, num, num_labels, seconds, grid):
    """Events that overlap, touch and repeat; on a grid, many starts and ends are exactly a collar apart."""
    starts, lengths = generator.uniform(0, seconds, num), generator.uniform(0.05, 2, num)
    if grid:
        starts, lengths = np.round(starts * grid) / grid, np.maximum(1, np.round(lengths * grid)) / grid
    labels = generator.integers(num_labels, size=num)
    return sorted(event(float(a), float(a + b), "abcd"[c]) for a, b, c in zip(starts, lengths, labels, strict=True))


def shaken(generator, events):
    """The same events, a little early or late."""
    offsets = generator.normal(0, 0.15, (len(events), 2))
    return [
        event(max(0.0, one.start_s + float(a)), one.end_s + 0.9 + abs(float(b)) * (one.end_s > 3), one.label)
        for one, (a, b) in zip(events, offsets, strict=True)
    ]


def random_case(seed):
    generator = np.random.default_rng(seed)
    about = {
        "num_labels": int(generator.integers(1, 5)),
        "seconds": float(generator.choice([1, 2, 5, 20])),
        "grid": int(generator.choice([0, 5, 10])),
    }
    references, estimates, durations = {}, {}, {}
    for file in map(str, range(int(generator.integers(1, 4)))):
        references[file] = random_events(generator, num=int(generator.integers(0, 25)), **about)
        estimates[file] = random_events(generator, num=int(generator.integers(0, 25)), **about)
        if generator.random() < 0.7:
            estimates[file] = sorted(estimates[file] + shaken(generator, references[file]))
        if generator.random() < 0.5:
            durations[file] = float(generator.uniform(1, about["seconds"] + 2))
    settings = {
        "collar_s": float(generator.choice([0.1, 0.2, 0.5])),
        "offset_share": [0.0, 0.2, 0.5, None][generator.integers(4)],
        "segment_s": float(generator.choice([0.1, 0.3, 0.5, 1.0])),
    }
    return references, estimates, durations, settings


def as_dicts(events, file):
    return [{"onset": one.start_s, "offset": one.end_s, "event_label": one.label, "filename": file} for one in events]


def by_sed_eval(references, estimates, durations, *, collar_s, offset_share, segment_s):
    """sed_eval's own objects after evaluation, as the DCASE challenges set them up."""
    labels = sorted({one.label for part in (references, estimates) for events in part.values() for one in events})
    events = sed_eval.sound_event.EventBasedMetrics(
        labels,
        t_collar=collar_s,
        percentage_of_length=offset_share or 0.0,
        evaluate_offset=offset_share is not None,
        empty_system_output_handling="zero_score",
    )
    segments = sed_eval.sound_event.SegmentBasedMetrics(labels, time_resolution=segment_s)
    segments.empty_system_output_handling = "zero_score"  # which its constructor does not take
    for file in references:
        said, heard = as_dicts(references[file], file), as_dicts(estimates[file], file)
        events.evaluate(said, heard)
        segments.evaluate(said, heard, evaluated_length_seconds=durations.get(file))
    return events, segments


def same(ours, theirs):
    """Whether a number is sed_eval's; ours is None where theirs is NaN, or a division by next to nothing."""
    if ours is None:
        return math.isnan(theirs) or theirs == 0 or theirs > 1e12
    return theirs == pytest.approx(ours, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # sed_eval's averages of nothing
@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_scores_equal_those_of_sed_eval_when_events_are_random(first_seed):
    num_substitutions = 0
    for seed in range(first_seed, first_seed + 50):
        references, estimates, durations, settings = random_case(seed)
        if not any(events for part in (references, estimates) for events in part.values()):
            continue
        theirs = by_sed_eval(references, estimates, durations, **settings)
        ours = event_scores(references, estimates, durations=durations, **settings)
        names = (("Nref", "Nsys", "Ntp", "Nsubs", "Nfn", "Nfp"), ("Nref", "Nsys", "Ntp", "S", "D", "I"))
        for kind, metrics, keys in zip(("event_based", "segment_based"), theirs, names, strict=True):
            overall = ours[kind]["overall"]
            counts = [overall[f"num_{count}"] for count in COUNTS]
            assert counts == [metrics.overall[key] for key in keys], (seed, kind)
            results = metrics.results()
            rates = {**results["overall"]["f_measure"], **results["overall"]["error_rate"]}
            for name, value in rates.items():
                assert same(overall["f1" if name == "f_measure" else name], value), (seed, kind, name)
            for label, result in results["class_wise"].items():
                values = ours[kind]["labels"][label]
                assert same(values["f1"], result["f_measure"]["f_measure"]), (seed, kind, label)
                assert same(values["precision"], result["f_measure"]["precision"])
                assert same(values["recall"], result["f_measure"]["recall"])
                assert same(values["error_rate"], result["error_rate"]["error_rate"])
            averages = results["class_wise_average"]
            macro = ours[kind]["macro"]
            assert same(macro["f1"], averages["f_measure"]["f_measure"]), (seed, kind)
            occurs = [one["num_references"] + one["num_estimates"] > 0 for one in ours[kind]["labels"].values()]
            if all(occurs):  # a label that lies after the recording's end is left out of ours, and 0 in theirs
                assert same(macro["precision"], averages["f_measure"]["precision"]), (seed, kind)
            assert same(macro["recall"], averages["f_measure"]["recall"]), (seed, kind)
            if all(values["num_references"] for values in ours[kind]["labels"].values()):
                assert same(macro["error_rate"], averages["error_rate"]["error_rate"]), (seed, kind)
            num_substitutions += overall["num_substitutions"]
    assert num_substitutions > 50  # the cases are such that it matters


def test_scores_are_those_worked_out_by_hand_when_there_are_two_labels():
    references = {"a": [event(1.0, 2.0), event(5.0, 6.0), event(8.0, 9.0, "sigh")]}
    estimates = {"a": [event(1.1, 2.1), event(5.1, 6.1, "sigh"), event(8.5, 9.0, "sigh"), event(20.0, 20.5)]}
    scores = event_scores(references, estimates)["event_based"]

    # Correct: the first. Substituted: the second. The sigh starts 0.5 s late: deleted, and inserted with the last one.
    overall = scores["overall"]
    assert [overall[f"num_{count}"] for count in COUNTS] == [3, 4, 1, 1, 1, 2]
    assert overall["precision"] == pytest.approx(1 / 4)
    assert overall["recall"] == pytest.approx(1 / 3)
    assert overall["f1"] == pytest.approx(2 / 7)
    assert overall["error_rate"] == pytest.approx(4 / 3)
    # Laugh: one of two found, two estimates; sigh: none of one, two estimates.
    assert scores["labels"]["laugh"]["f1"] == pytest.approx(0.5)
    assert scores["labels"]["sigh"]["f1"] == 0
    assert scores["macro"]["f1"] == pytest.approx(0.25)
    assert scores["macro"]["error_rate"] == pytest.approx((2 / 2 + 3 / 1) / 2)


@pytest.mark.parametrize(
    ("estimate", "is_correct"),
    [
        (event(10.0, 20.0), True),
        (event(10.25, 20.0), True),  # exactly the collar
        (event(10.3, 20.0), False),
        (event(9.75, 22.0), True),  # a fifth of the length is 2 s
        (event(10.0, 18.0), True),
        (event(10.0, 22.1), False),
        (event(10.0, 20.0, "sigh"), False),
    ],
)
def test_event_is_correct_within_the_collars_only(estimate, is_correct):
    scores = event_scores({"a": [event(10.0, 20.0)]}, {"a": [estimate]}, collar_s=0.25, offset_share=0.2)
    assert scores["event_based"]["overall"]["num_correct"] == is_correct


def test_end_of_a_short_event_may_be_a_collar_off_and_is_ignored_when_not_asked_for():
    # A fifth of 0.5 s is less than the collar.
    references, near, far = {"a": [event(1.0, 1.5)]}, {"a": [event(1.0, 1.75)]}, {"a": [event(1.0, 1.875)]}
    found = [event_scores(references, said, collar_s=0.25)["event_based"]["overall"]["f1"] for said in (near, far)]
    assert found == [1.0, 0.0]
    assert event_scores(references, far, offset_share=None)["event_based"]["overall"]["f1"] == 1.0


def test_matching_finds_the_most_pairs_when_a_greedy_one_would_not():
    # The first reference could take either estimate, the second only the first of them.
    references = {"a": [event(1.0, 2.0), event(1.0, 2.375)]}
    estimates = {"a": [event(1.0, 2.1875), event(1.0, 1.875)]}
    scores = event_scores(references, estimates, collar_s=0.25, offset_share=0.0)
    assert scores["event_based"]["overall"]["num_correct"] == 2


def test_order_of_events_makes_no_difference():
    references, estimates, durations, settings = random_case(3)
    turned = [{file: list(reversed(events)) for file, events in part.items()} for part in (references, estimates)]
    assert event_scores(references, estimates, durations=durations, **settings) == event_scores(
        *turned, durations=durations, **settings
    )


def test_segments_are_those_that_an_event_touches_and_end_with_the_recording():
    # References are in segments 0 and 1, estimates in 1, 2 and 3; a recording of 3 s has none with number 3.
    references, estimates = {"a": [event(0.5, 1.5)]}, {"a": [event(1.0, 4.0)]}
    overall = event_scores(references, estimates)["segment_based"]["overall"]
    assert [overall[f"num_{count}"] for count in COUNTS] == [2, 3, 1, 0, 1, 2]
    overall = event_scores(references, estimates, durations={"a": 3.0})["segment_based"]["overall"]
    assert [overall[f"num_{count}"] for count in COUNTS] == [2, 2, 1, 0, 1, 1]


def test_undefined_scores_are_none_and_left_out_of_averages():
    references = {"a": [event(1.0, 2.0)], "silent": []}
    estimates = {"a": [event(1.0, 2.0)], "silent": [event(1.0, 2.0, "sigh")]}
    scores = event_scores(references, estimates, labels=["laugh", "sigh", "cough"])["event_based"]
    sigh, cough = scores["labels"]["sigh"], scores["labels"]["cough"]
    assert (sigh["precision"], sigh["recall"], sigh["f1"], sigh["error_rate"]) == (0.0, None, None, None)
    assert {cough[name] for name in ("precision", "recall", "f1", "error_rate")} == {None}
    assert scores["macro"] == {"precision": 0.5, "recall": 1.0, "f1": 1.0, "error_rate": 0.0}


def test_label_that_is_never_found_counts_as_zero():
    scores = event_scores({"a": [event(1.0, 2.0), event(3.0, 4.0, "sigh")]}, {"a": [event(1.0, 2.0)]})
    assert scores["event_based"]["labels"]["sigh"]["precision"] == 0
    assert scores["event_based"]["macro"]["f1"] == 0.5


def test_other_labels_are_left_out_when_labels_are_named():
    references = {"a": [event(1.0, 2.0), event(3.0, 4.0, "sigh")]}
    scores = event_scores(references, {}, labels=["laugh"])
    assert scores["event_based"]["overall"]["num_references"] == 1
    assert list(scores["segment_based"]["labels"]) == ["laugh"]


def test_many_events_are_matched_when_every_pair_depends_on_the_next():
    # Estimates stand half a step after references, so that each may answer two; one path leads through all of them.
    references = {"a": [event(0.25 * at, 0.25 * at + 1) for at in range(3000)]}
    estimates = {"a": [event(0.25 * at + 0.125, 0.25 * at + 1.125) for at in range(-1, 2999) if at >= 0]}
    estimates["a"].append(event(0.0, 1.0))
    overall = event_scores(references, estimates, collar_s=0.125, offset_share=0.0)["event_based"]["overall"]
    assert overall["num_correct"] == 3000


@pytest.mark.parametrize(
    ("references", "estimates", "options", "words"),
    [
        ({"a.wav": []}, {"b.wav": [event(1, 2)]}, {}, "no references for b.wav"),
        ({"a": []}, {}, {}, "there are no events to score"),
        ({"a": [event(2.0, 1.0)]}, {}, {}, "references, a: expected 0 <= start <= end"),
        ({"a": [event(0, 1)]}, {"a": [event(math.nan, 1.0)]}, {}, "estimates, a: expected 0 <= start"),
        ({"a": [event(0, 1)]}, {}, {"collar_s": 0}, "collar_s: expected seconds above 0, found 0"),
        ({"a": [event(0, 1)]}, {}, {"segment_s": math.nan}, "segment_s: expected seconds above 0"),
        ({"a": [event(0, 1)]}, {}, {"offset_share": 1.5}, "offset_share: expected a share between 0 and 1"),
        ({"a": [event(0, 1)]}, {}, {"labels": ["laugh", "laugh"]}, "found laugh repeatedly"),
        ({"a": [event(0, 1)]}, {}, {"durations": {"a": -1.0}}, "durations: expected seconds"),
    ],
)
def test_events_are_refused_with_a_reason_when_they_cannot_be_scored(references, estimates, options, words):
    with pytest.raises(EventScoreError, match=words):
        event_scores(references, estimates, **options)


def test_table_shows_all_labels_averages_and_settings():
    scores = event_scores({"a": [event(1.0, 2.0), event(3.0, 4.0, "sigh")]}, {"a": [event(1.0, 2.0)]})
    table = scores_table(scores)
    events, segments = table.split("\n\n")
    assert "starts within 0.2 s" in events.splitlines()[0]
    assert segments.startswith("segments of 1 s")
    assert [line.split()[0] for line in events.splitlines()[2:]] == ["laugh", "sigh", "macro", "overall"]
    assert events.splitlines()[2].split()[1:] == ["1", "1", "1", "1.000", "1.000", "1.000", "0.000"]
    assert len({len(line) for line in events.splitlines()[1:]}) == 1
    assert scores_table(scores, notes=["No result."]) == f"No result.\n\n{table}"
