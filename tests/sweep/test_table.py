import json

import pandas as pd
import pytest

from nvv.sweep.table import collect_results, layers_as_text, write_results
from nvv.training.results import ResultsError, read_metrics


@pytest.mark.parametrize(
    ("layers", "text"),
    [(None, "all"), ([0, 1, 2], "0-2"), ([3], "3"), ([5, 0, 1, 2], "0-2,5"), ([0, 2, 4], "0,2,4"), ([1, 2], "1-2")],
)
def test_layers_are_written_as_stretches(layers, text):
    assert layers_as_text(layers) == text


def test_rows_follow_the_plan_and_failed_and_waiting_runs_are_there(made_up_sweep):
    folder = made_up_sweep(
        {"method": "lora", "status": "not run"}, {}, {"status": "failed", "error": "CorpusError: it is gone", "seed": 2}
    )
    table = collect_results(folder)
    assert table["run_id"].tolist() == ["run0", "run1", "run2"]
    assert table["status"].tolist() == ["not run", "done", "failed"]
    assert table["error"].tolist() == ["", "", "CorpusError: it is gone"]
    assert table["corpus"].tolist() == ["vivae"] * 3
    assert table["test_uar"].isna().tolist() == [True, False, True]


def test_a_run_is_there_only_where_the_plan_names_it(made_up_sweep):
    folder = made_up_sweep({}, {"seed": 2})
    plan = json.loads((folder / "plan.json").read_text())
    runs = plan["runs"] if isinstance(plan, dict) else plan
    del runs[0]  # the grid was changed after run0
    (folder / "plan.json").write_text(json.dumps(plan))
    assert collect_results(folder)["run_id"].tolist() == ["run1"]
    (folder / "plan.json").unlink()
    assert collect_results(folder)["run_id"].tolist() == ["run0", "run1"]


def test_scores_intervals_and_chance_are_those_of_the_run(made_up_sweep):
    folder = made_up_sweep({"right": 0.7})
    row = collect_results(folder).iloc[0]
    test = read_metrics(folder / "runs" / "run0" / "metrics.json")["splits"]["test"]
    assert row["test_macro_f1"] == test["scores"]["macro_f1"]["value"]
    assert row["test_macro_f1_low"] == test["scores"]["macro_f1"]["low"]
    assert row["test_uar_speaker_high"] == test["scores"]["uar"]["speaker_high"]
    assert row["test_uar_chance"] == max(test["chance"][kind]["uar"] for kind in ("majority", "random"))
    assert (row["test_num_clips"], row["test_num_speakers"]) == (120, 30)
    assert (row["num_labels"], row["trainable_parameters"]) == (3, 10)


def test_columns_say_what_a_run_was(made_up_sweep):
    folder = made_up_sweep(
        {"method": "lora", "tuned_layers": [0, 1, 2], "learning_rate": 1e-3, "random_init": True},
        {"summed_layers": [1, 2], "is_synthetic": True},
        {"backbone": "mfcc", "method": "linear_svm", "recipe": "baseline"},
        {"backbone": "none", "method": "majority", "recipe": "baseline"},
    )
    table = collect_results(folder)
    assert table["layers"].tolist() == ["0-2", "", "", ""]
    assert table["hidden_states"].tolist() == ["all", "1-2", "", ""]
    assert table["backbone"].tolist() == ["openai/whisper-tiny", "openai/whisper-tiny", "mfcc", "none"]
    assert table["method"].tolist() == ["lora", "frozen", "linear_svm", "majority"]
    assert table["family"].tolist() == ["whisper", "whisper", "baseline", "baseline"]
    assert table["random_init"].tolist() == [True, False, False, False]
    assert table["is_synthetic"].tolist() == [False, True, False, False]
    assert table["learning_rate"][0] == 1e-3
    assert table["tuned_layers"][0] == "[0, 1, 2]"


def test_family_comes_from_the_run_where_the_backbone_is_a_folder(made_up_sweep):
    folder = made_up_sweep({"backbone": "my_encoder"}, {"backbone": "other_encoder"})
    config = {"backbone_config": {"model_type": "hubert"}}
    (folder / "runs" / "run0" / "config.json").write_text(json.dumps(config))
    assert collect_results(folder)["family"].tolist() == ["hubert", "unknown"]


def test_folders_without_a_sweep_and_broken_files_are_refused(tmp_path, made_up_sweep):
    with pytest.raises(ResultsError, match="found neither"):
        collect_results(tmp_path)
    folder = made_up_sweep({})
    (folder / "runs" / "run0" / "run.json").write_text("{")
    with pytest.raises(ResultsError, match=r"run0/run.json: not valid JSON"):
        collect_results(folder)


def test_parquet_and_csv_hold_the_table(made_up_sweep):
    folder = made_up_sweep({"tuned_layers": [0], "method": "lora"}, {"status": "failed", "error": 'no, "really"'})
    table = collect_results(folder)
    parquet, csv = write_results(folder, table)
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), table, check_dtype=False)
    again = pd.read_csv(csv, keep_default_na=False, na_values={"test_uar": ""})
    assert again["error"].tolist() == ["", 'no, "really"']
    assert again["test_uar"][0] == table["test_uar"][0]
    assert again.columns.tolist() == table.columns.tolist()


def test_scores_of_tasks_have_columns_and_chance_levels(made_up_sweep):
    folder = made_up_sweep({"tasks": ["mood"]}, {"tasks": ["mood", "sound"]}, {"tasks": ["sound"]}, {})
    table = collect_results(folder)
    assert table["predicts"].tolist() == ["numbers", "several tasks", "classes", "classes"]
    assert table["num_labels"].tolist() == [2, 5, 3, 3]  # targets and classes
    for run, score in ((0, "ccc"), (1, "mean_score"), (1, "mood_ccc"), (1, "sound_uar"), (2, "uar")):
        metrics = read_metrics(folder / "runs" / f"run{run}" / "metrics.json")["splits"]["test"]["scores"][score]
        assert table[f"test_{score}"][run] == metrics["value"]
        assert table[f"test_{score}_speaker_low"][run] == metrics["speaker_low"]
    assert pd.isna(table["test_uar"][0])
    # A constant answer has a CCC of 0; of several tasks together no chance level is known.
    assert table["test_ccc_chance"][0] == 0
    assert "test_mean_score_chance" not in table
    assert table["test_uar_chance"].notna().tolist() == [False, False, True, True]
