import statistics

import pytest
import sklearn.metrics

from nvv.sweep.score_tables import score_tables
from nvv.sweep.settings import ReportSettings
from nvv.sweep.significance import AnswerStore
from nvv.sweep.systems import with_systems
from nvv.sweep.table import collect_results
from nvv.training.results import read_metrics, read_predictions

SMALL, TINY = {"backbone": "openai/whisper-small"}, {"backbone": "openai/whisper-tiny"}


def tables_of(folder, **settings):
    settings = ReportSettings(num_resamples=400, **settings)
    table = with_systems(collect_results(folder), rows=settings.rows, columns=settings.columns)
    return score_tables(table, AnswerStore(folder), settings)


def uar_of(folder, run):
    return read_metrics(folder / "runs" / run / "metrics.json")["splits"]["test"]["scores"]["uar"]


def test_a_cell_is_mean_and_sample_deviation_over_seeds(made_up_sweep):
    folder = made_up_sweep(*({"seed": seed, "right": 0.4 + 0.1 * seed} for seed in (1, 2, 3)))
    [table] = tables_of(folder)
    cell = table.cells["whisper-tiny", "frozen"]
    values = [uar_of(folder, f"run{run}")["value"] for run in range(3)]
    assert cell.value == pytest.approx(statistics.mean(values))
    assert cell.deviation == pytest.approx(statistics.stdev(values))
    assert (cell.low, cell.num_done, cell.num_planned) == (None, 3, 3)
    assert cell.is_best
    assert cell.p_value is None


def test_a_single_run_shows_its_interval_by_speaker(made_up_sweep):
    folder = made_up_sweep({"right": 0.7})
    [table] = tables_of(folder)
    cell = table.cells["whisper-tiny", "frozen"]
    uar = uar_of(folder, "run0")
    assert (cell.low, cell.high) == (uar["speaker_low"], uar["speaker_high"])
    assert cell.deviation is None


def test_folds_make_one_row_and_their_predictions_together_another_table(made_up_sweep):
    runs = [
        {"split_protocol": f"fold_{fold}", "seed": seed, "right": 0.5 + 0.1 * fold, "first_clip": 200 * fold}
        for fold in range(3)
        for seed in (1, 2)
    ]
    folder = made_up_sweep(*runs)
    by_fold, pooled = tables_of(folder)
    cell = by_fold.cells["whisper-tiny", "frozen"]
    means = [statistics.mean(uar_of(folder, f"run{2 * fold + at}")["value"] for at in (0, 1)) for fold in range(3)]
    assert cell.value == pytest.approx(statistics.mean(means))
    assert cell.deviation == pytest.approx(statistics.stdev(means))
    assert (by_fold.num_folds, by_fold.num_clips, by_fold.is_pooled) == (3, 360, False)

    answers = [read_predictions(folder / "runs" / f"run{run}" / "predictions.csv")[0][1] for run in range(6)]
    references = [label for item in answers for label in item.references]
    predictions = [label for item in answers for label in item.predictions]
    cell = pooled.cells["whisper-tiny", "frozen"]
    assert pooled.is_pooled
    assert cell.value == pytest.approx(sklearn.metrics.balanced_accuracy_score(references, predictions))
    assert cell.low < cell.value < cell.high


def test_folds_that_share_clips_are_not_scored_together(made_up_sweep):
    folder = made_up_sweep({"split_protocol": "fold_0"}, {"split_protocol": "fold_1"})
    assert [table.is_pooled for table in tables_of(folder)] == [False]


def test_the_best_is_marked_and_what_is_clearly_worse_too(made_up_sweep):
    folder = made_up_sweep({**SMALL, "right": 0.9}, {**TINY, "right": 0.5}, {**TINY, "method": "lora", "right": 0.89})
    [table] = tables_of(folder)
    assert table.reference == "whisper-small, frozen"
    assert table.cells["whisper-small", "frozen"].is_best
    assert table.cells["whisper-tiny", "frozen"].num_marks == 2
    assert table.cells["whisper-tiny", "lora"].num_marks == 0
    assert table.unit == "speaker"


def test_p_values_are_corrected_for_the_number_of_comparisons(made_up_sweep):
    runs = [{**SMALL, "right": 0.6}, {**TINY, "right": 0.55}]
    [alone] = tables_of(made_up_sweep(*runs, name="alone"))
    [beside] = tables_of(made_up_sweep(*runs, {**TINY, "method": "lora", "right": 0.1}, name="beside"))
    raw = alone.cells["whisper-tiny", "frozen"].p_value
    # Of the two, the difference to lora has the smaller p-value; Holm leaves the larger one as it is.
    assert beside.cells["whisper-tiny", "frozen"].p_value == raw
    assert beside.cells["whisper-tiny", "lora"].p_value == pytest.approx(2 * 2 / 401)  # the smallest p of 400, twice


def test_a_named_reference_takes_the_place_of_the_best(made_up_sweep):
    folder = made_up_sweep({**SMALL, "right": 0.9}, {**TINY, "right": 0.5})
    [table] = tables_of(folder, reference={"backbone": "openai/whisper-tiny"})
    assert table.reference == "whisper-tiny, frozen"
    assert table.cells["whisper-small", "frozen"].num_marks == 2
    assert table.cells["whisper-small", "frozen"].is_best
    [table] = tables_of(folder, reference={"backbone": "nobody"})
    assert table.reference == "whisper-small, frozen"
    assert "fits none here" in table.remarks[0]


def test_missing_runs_show_in_the_cell_and_are_left_out_of_the_mean(made_up_sweep):
    folder = made_up_sweep({"right": 0.6}, {"seed": 2, "status": "failed"}, {"method": "lora", "status": "not run"})
    [table] = tables_of(folder)
    cell = table.cells["whisper-tiny", "frozen"]
    assert (cell.num_done, cell.num_planned, cell.deviation) == (1, 2, None)
    assert ("whisper-tiny", "lora") not in table.cells


def test_what_cannot_be_compared_is_said_and_not_marked(made_up_sweep):
    folder = made_up_sweep({**SMALL, "right": 0.9}, {**TINY, "num_clips": 60})
    [table] = tables_of(folder)
    assert table.cells["whisper-tiny", "frozen"].p_value is None
    assert "whisper-tiny, frozen: not compared. run0, test: expected the clips and labels of run1" in table.remarks[0]


def test_tables_say_what_is_no_evidence_and_what_was_heard_before(made_up_sweep):
    folder = made_up_sweep(
        {"corpus": "synthetic", "is_synthetic": True, "random_init": True}, {**SMALL, "corpus": "recanvo"}
    )
    computed, real = tables_of(folder, seen_in_pretraining={"openai/whisper-small": ["recanvo"]})
    assert (computed.is_synthetic, computed.num_random_init) == (True, 1)
    assert (real.is_synthetic, real.num_random_init) == (False, 0)
    assert real.cells["whisper-small", "frozen"].is_seen
    assert not computed.cells["whisper-tiny", "frozen"].is_seen


def test_each_corpus_protocol_and_split_has_its_table(made_up_sweep):
    folder = made_up_sweep(
        {}, {"corpus": "recanvo"}, {"split_protocol": "stratified"}, {"corpus": "x", "status": "failed"}
    )
    tables = tables_of(folder, splits=("test", "validation"))
    assert [(table.corpus, table.protocol, table.split) for table in tables] == [
        (corpus, protocol, split)
        for corpus, protocol in (("vivae", "speaker"), ("recanvo", "speaker"), ("vivae", "stratified"))
        for split in ("test", "validation")
    ]
    # Three classes of 40 clips each: whoever guesses is right for a third.
    assert tables[0].chance == pytest.approx(1 / 3, abs=0.01)
    assert (tables[0].num_clips, tables[0].num_speakers) == (120, 30)
