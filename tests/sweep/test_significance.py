import numpy as np
import pytest
import sklearn.metrics

from nvv.metrics import paired_bootstrap
from nvv.sweep.significance import AnswerStore, compare_systems, holm, matched_runs, pooled_answers
from nvv.sweep.systems import with_systems
from nvv.sweep.table import collect_results
from nvv.training.results import ResultsError, read_predictions

A, B = {"backbone": "openai/whisper-small"}, {"backbone": "openai/whisper-tiny"}


def two_systems(folder):
    table = with_systems(collect_results(folder), rows=("backbone",), columns=("method",))
    return AnswerStore(folder), *(table[table["backbone"] == side["backbone"]] for side in (A, B))


def compare(folder, *, metric="uar", num_resamples=300):
    store, first, second = two_systems(folder)
    return compare_systems(store, first, second, split="test", metric=metric, num_resamples=num_resamples)


def test_holm_multiplies_from_the_smallest_and_never_falls():
    # By hand: sorted 0.01, 0.03, 0.04 times 3, 2, 1 = 0.03, 0.06, 0.04; the last may not be below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_pair_is_what_paired_bootstrap_says(made_up_sweep):
    folder = made_up_sweep({**A, "right": 0.7}, {**B, "right": 0.6})
    first, second = (read_predictions(folder / "runs" / run / "predictions.csv")[0][1] for run in ("run0", "run1"))
    expected = paired_bootstrap(
        first.references,
        first.predictions,
        second.predictions,
        num_labels=3,
        groups=first.speaker_ids,
        num_resamples=300,
    )["macro_f1"]
    found = compare(folder, metric="macro_f1")
    assert (found.difference, found.low, found.high) == (expected["difference"], expected["low"], expected["high"])
    assert found.p_value == expected["p_value"]
    assert (found.num_clips, found.num_pairs, found.unit) == (120, 1, "speaker")


def test_difference_over_seeds_is_the_mean_of_the_seeds_differences(made_up_sweep):
    folder = made_up_sweep(
        *({**A, "seed": seed, "right": 0.6 + 0.1 * seed} for seed in (1, 2)),
        *({**B, "seed": seed, "right": 0.5} for seed in (2, 1)),
    )
    recalls = []
    for run in range(4):
        test = read_predictions(folder / "runs" / f"run{run}" / "predictions.csv")[0][1]
        recalls.append(sklearn.metrics.balanced_accuracy_score(test.references, test.predictions))
    found = compare(folder)
    assert found.difference == pytest.approx(np.mean(recalls[:2]) - np.mean(recalls[2:]))
    assert (found.num_clips, found.num_pairs) == (120, 2)


def test_seeds_are_no_independent_evidence(made_up_sweep):
    # The same answers three times over say no more than once.
    once = made_up_sweep({**A, "right": 0.7}, {**B, "right": 0.6}, name="once")
    thrice = made_up_sweep(*(2 * [{**A, "right": 0.7}]), *(2 * [{**B, "right": 0.6}]), name="thrice")
    for run in range(4):  # seeds 1 and 2 with the answers of seed 1
        file = thrice / "runs" / f"run{run}" / "metrics.json"
        file.write_text(file.read_text().replace('"seed": 1', f'"seed": {1 + run % 2}', 1))
    first, second = compare(once), compare(thrice)
    assert second.num_pairs == 2
    assert (first.low, first.high, first.p_value) == pytest.approx((second.low, second.high, second.p_value))


def test_runs_pair_by_fold_and_seed(made_up_sweep):
    runs = [{"split_protocol": f"fold_{fold}", "seed": seed} for fold in (0, 1) for seed in (1, 2)]
    folder = made_up_sweep(*({**A, **run} for run in runs), *({**B, **run} for run in reversed(runs)))
    _, first, second = two_systems(folder)
    assert matched_runs(first, second) == [("run0", "run7"), ("run1", "run6"), ("run2", "run5"), ("run3", "run4")]


def test_a_system_that_ran_once_pairs_with_every_seed(made_up_sweep):
    folder = made_up_sweep({**A, "seed": 1}, {**A, "seed": 2}, {**B, "seed": 42})
    _, first, second = two_systems(folder)
    assert matched_runs(first, second) == [("run0", "run2"), ("run1", "run2")]


def test_seeds_that_only_one_side_has_are_left_out(made_up_sweep):
    folder = made_up_sweep({**A, "seed": 1}, {**A, "seed": 2}, {**B, "seed": 2}, {**B, "seed": 3})
    _, first, second = two_systems(folder)
    assert matched_runs(first, second) == [("run1", "run2")]
    with pytest.raises(ResultsError, match="No fold and seed that both systems ran with"):
        matched_runs(first, second[second["seed"] != 2].assign(fold=5))


def test_clips_are_drawn_where_a_speaker_is_unknown(made_up_sweep):
    folder = made_up_sweep({**A, "right": 0.7, "speakers": False}, {**B, "right": 0.6, "speakers": False})
    assert compare(folder).unit == "clip"


def test_other_clips_are_refused(made_up_sweep):
    folder = made_up_sweep({**A, "num_clips": 60}, {**B, "num_clips": 63})
    with pytest.raises(ResultsError, match="run1, test: expected the clips and labels of run0"):
        compare(folder)


def test_the_order_of_a_file_does_not_matter(made_up_sweep):
    folder = made_up_sweep({**A, "right": 0.7}, {**B, "right": 0.6})
    expected = compare(folder)
    file = folder / "runs" / "run0" / "predictions.csv"
    header, *rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join([header, *reversed(rows)]))
    assert compare(folder) == expected


def test_missing_predictions_are_named(made_up_sweep):
    folder = made_up_sweep(A, B)
    with pytest.raises(ResultsError, match="run0: expected predictions on train, found validation, test"):
        pooled_answers(AnswerStore(folder), [("run0",)], split="train")
    (folder / "runs" / "run1" / "predictions.csv").unlink()
    with pytest.raises(ResultsError, match=r"run1/predictions.csv: expected the run's predictions"):
        compare(folder)
