"""A sweep over the tasks of Hume-VB that really runs, on a computed tree and a tiny backbone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nvv.data.synthetic_hume_vb import write_synthetic_hume_vb
from nvv.sweep.arguments import SweepArguments
from nvv.sweep.grid import read_grid
from nvv.sweep.run import run_sweep

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.slow
def test_sweep_over_tasks_runs_reports_and_lists_what_failed(write_grid, backbone_folder, tmp_path):
    tree = write_synthetic_hume_vb(tmp_path / "A-VB", num_clips=(24, 12, 12), tasks=("two", "type"))
    tiny = {
        "backbone": str(backbone_folder),
        "method": "full",
        "head": "lstm",
        "pooling": "last",
        "lstm_hidden_size": 8,
        "max_seconds": 1.5,
        "num_train_epochs": 1,
        "gradient_accumulation_steps": 1,
        "warmup_steps": 0,
        "num_bootstrap_resamples": 10,
    }
    tasks = {
        "two": {"targets": ["Valence", "Arousal"]},
        "type": {"label": "label"},
    }
    joint = {"corpus": "hume_vb", "split_protocol": "joint", "tasks": tasks, "seed": 1}
    blocks = [
        {"files": [str(RECIPES / "hume_vb" / "two.yaml")], "lstm_layers": [0, 1], "seed": [1, 2], **tiny},
        {"files": [str(RECIPES / "hume_vb" / "type.yaml")], "class_balanced_loss": False, **tiny},
        {**joint, **tiny},
        {**joint, **tiny, "tasks": {"culture": {"targets": ["China_Awe"]}}},  # this copy has no such values
    ]
    report = {"metric": "mean_score", "rows": ["backbone", "lstm_layers"], "num_resamples": 50}
    grid = write_grid(name="tasks", blocks=blocks, report=report, data_dirs={"hume_vb": str(tree)})
    arguments = SweepArguments(output_dir=str(tmp_path / "sweep"), data_cache_dir=str(tmp_path / "cache"))
    result = run_sweep(read_grid(grid), arguments)
    assert len(result.done) == 6, result.failed
    [error] = result.failed.values()
    assert "'China_Awe' has no value in the train split" in error
    table = pd.read_csv(tmp_path / "sweep" / "results.csv").set_index("run_id")
    done = table[table["status"] == "done"]
    assert done["is_synthetic"].all()
    assert dict(zip(done["split_protocol"], done["predicts"], strict=True)) == {
        "two": "numbers",
        "type": "classes",
        "joint": "several tasks",
    }
    assert done["test_mean_score"].notna().tolist() == [protocol == "joint" for protocol in done["split_protocol"]]
    text = (tmp_path / "sweep" / "report.md").read_text(encoding="utf-8")
    assert "7 runs: 6 finished, 1 failed." in text
    assert "not compared" not in text
    for words in ("CCC times 100 on test", "UAR in per cent on test", "Mean of CCC and UAR over the tasks times 100"):
        assert words in text
    assert "**Computed sounds: no evidence" in text
    assert "whisper, lstm_layers 0" in text
