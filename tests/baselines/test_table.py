from __future__ import annotations

import re

import pandas as pd
import pytest

from nvv.baselines import run_baselines


@pytest.fixture
def table(data, options, tmp_path):
    results = run_baselines(data, options(features=["mfcc", "duration"]))
    return results, tmp_path / "baselines"


def test_csv_holds_every_score(table):
    results, folder = table
    frame = pd.read_csv(folder / "baselines.csv")
    assert frame["baseline"].tolist() == list(results)
    assert frame["test_macro_f1"].is_monotonic_decreasing
    for row in frame.to_dict("records"):
        metrics = results[row["baseline"]].metrics
        for split in ("validation", "test"):
            for name, score in metrics["splits"][split]["scores"].items():
                assert row[f"{split}_{name}"] == pytest.approx(score["value"], abs=1e-12)
                assert row[f"{split}_{name}_low"] == pytest.approx(score["low"], abs=1e-12)
        assert (row["test_num_clips"], row["test_num_speakers"]) == (9, 4)
        assert row["is_synthetic"]


def test_markdown_shows_each_baseline_with_intervals(table):
    results, folder = table
    text = (folder / "baselines.md").read_text(encoding="utf-8")
    assert text.startswith("# Baselines on Tones, protocol speaker\n")
    assert "**Synthetic sounds: these numbers are no result.**" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) == 1 + len(results) == 7
    assert len({row.count("|") for row in rows}) == 1
    for row, result in zip(rows[1:], results.values(), strict=True):
        score = result.metrics["splits"]["test"]["scores"]["macro_f1"]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2] == f"{100 * score['value']:.1f} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"
        if "over speakers" in rows[0]:
            assert cells[3] == f"[{100 * score['speaker_low']:.1f}, {100 * score['speaker_high']:.1f}]"
    assert re.search(r"3 classes; 9 test clips by 4 speakers", text)


def test_score_that_chose_stands_first_and_orders_the_table(data, options, tmp_path):
    results = run_baselines(data, options(metric_for_best_model="uar", features=["mfcc", "duration"]))
    frame = pd.read_csv(tmp_path / "baselines" / "baselines.csv")
    assert frame["test_uar"].is_monotonic_decreasing
    text = (tmp_path / "baselines" / "baselines.md").read_text(encoding="utf-8")
    assert "| features | classifier | test UAR |" in text
    assert "validation UAR" in text
    assert results["majority"].metrics["training"]["selection_metric"] == "uar"
