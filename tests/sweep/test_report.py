import json
import re

import pandas as pd
import pytest

from nvv.sweep.report import write_report
from nvv.sweep.settings import ReportError
from nvv.training.results import ResultsError

CLAIM = {
    "name": "LoRA",
    "statement": "LoRA beats the frozen encoder.",
    "source": "somebody",
    "better": {"method": "lora"},
    "than": {"method": "frozen"},
    "matched_by": ["backbone"],
}
REPORT = {"num_resamples": 300, "score": True, "claims": [CLAIM], "notes": ["A note."]}
ALWAYS = {"results.parquet", "results.csv", "report.md", "tables.tex"}


def runs_on(*corpora, **changes):
    return [
        {"corpus": corpus, "backbone": backbone, "method": method, "right": base + more, **changes}
        for corpus in corpora
        for backbone, base in (("openai/whisper-tiny", 0.5), ("openai/whisper-base", 0.6))
        for method, more in (("frozen", 0.0), ("lora", 0.2))
    ]


def test_report_of_two_corpora_has_everything(made_up_sweep):
    folder = made_up_sweep(*runs_on("vivae", "recanvo"), report=REPORT)
    files = write_report(folder)
    ranked = {"critical_difference_speaker.png", "win_rates_speaker.png", "win_rates_speaker.csv"}
    assert {file.name for file in files} == ALWAYS | ranked | {"heatmap.png", "scores.csv", "claims.json"}
    assert all(file.is_file() for file in files)
    text = (folder / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .*", text, flags=re.M)
    assert headings == [
        "# made_up",
        "## Score, speaker protocol",
        "## Tables",
        "### vivae, speaker protocol, test",
        "### recanvo, speaker protocol, test",
        "## Across corpora",
        "### Ranks, speaker protocol",
        "## Claims",
        "### LoRA: holds",
    ]
    assert "8 runs: 8 finished." in text
    assert "A note." in text
    assert "Friedman test of equal ranks: p" in text
    for picture in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert (folder / picture).is_file()
    # Every row of a Markdown table has as many cells as its header.
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    [claim] = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert (claim["verdict"], claim["num_comparisons"]) == ("holds", 4)
    assert pd.read_csv(folder / "scores.csv")["system"][0] == "whisper-base, lora"
    assert pd.read_parquet(folder / "results.parquet").shape[0] == 8
    assert (folder / "tables.tex").read_text(encoding="utf-8").count(r"\begin{table}") == 2


def test_one_corpus_has_no_ranks_and_the_report_says_so(made_up_sweep):
    folder = made_up_sweep(*runs_on("vivae"), report={"num_resamples": 100})
    files = write_report(folder)
    assert {file.name for file in files} == ALWAYS | {"heatmap.png"}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "Ranks across corpora need at least 2 corpora; here is 1." in text
    assert "## Claims" not in text
    assert "## Score" not in text


def test_failed_and_waiting_runs_are_listed_once_for_each_error(made_up_sweep):
    failed = {"status": "failed", "error": "CorpusError: no folder `x`"}
    folder = made_up_sweep({}, {**failed, "seed": 2}, {**failed, "seed": 3}, {"seed": 4, "status": "not run"})
    write_report(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "4 runs: 1 finished, 2 failed, 1 not run." in text
    assert "## Failed runs\n\n- `run1`\n- `run2`\n\n  CorpusError: no folder \\`x\\`\n" in text
    assert text.count("CorpusError") == 1
    assert "## Runs still to do\n\n- `run3`\n" in text


def test_a_sweep_without_a_finished_run_has_a_report_too(made_up_sweep):
    folder = made_up_sweep({"status": "failed", "error": "x"}, {"status": "not run"}, report=REPORT)
    assert {file.name for file in write_report(folder)} == ALWAYS | {"claims.json"}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "No run has finished yet." in text
    assert "LoRA: not tested" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"random_init": True}, "Random weights: no evidence about backbones or methods."),
        ({"corpus": "synthetic", "is_synthetic": True}, "Computed sounds: no evidence about people's voices."),
    ],
)
def test_what_is_no_evidence_is_said_on_top_in_the_captions_and_at_the_claims(made_up_sweep, changes, words):
    folder = made_up_sweep(*runs_on("vivae", **changes), report=REPORT)
    write_report(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert f"**{words}**" in text.split("##")[0]
    assert words.split(":")[0].upper() in text
    assert words.split(":")[0].lower() in text.split("## Tables")[0].split("## Score")[1].lower()
    assert "LoRA: holds (no evidence)" in text


def test_only_what_is_affected_is_called_no_evidence(made_up_sweep):
    folder = made_up_sweep({"random_init": True}, {"backbone": "openai/whisper-base"})
    write_report(folder)
    assert "In part: random weights" in (folder / "report.md").read_text(encoding="utf-8")


def test_files_of_an_earlier_report_do_not_stay(made_up_sweep):
    folder = made_up_sweep({})
    for name in ("claims.json", "critical_difference_fold.png", "win_rates_x.csv"):
        (folder / name).write_text("old")
    (folder / "notes.txt").write_text("somebody's")
    write_report(folder)
    left = {path.name for path in folder.iterdir()}
    assert left == ALWAYS | {"heatmap.png", "notes.txt", "plan.json", "grid.yaml", "runs"}


def test_runs_alone_are_enough_for_a_report(made_up_sweep):
    folder = made_up_sweep({})
    (folder / "grid.yaml").unlink()
    (folder / "plan.json").unlink()
    write_report(folder)
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("# Sweep\n")


def test_a_report_section_that_cannot_be_used_is_refused_before_anything_is_written(made_up_sweep, tmp_path):
    folder = made_up_sweep({}, report={"metric": "loss"})
    with pytest.raises(ReportError, match="metric: expected one of"):
        write_report(folder)
    assert not (folder / "report.md").exists()
    with pytest.raises(ResultsError, match="found neither"):
        write_report(tmp_path / "nothing")


def test_the_same_runs_give_the_same_report(made_up_sweep):
    folder = made_up_sweep(*runs_on("vivae")[:2], report={"num_resamples": 100})
    first = {file.name: file.read_bytes() for file in write_report(folder)}
    assert {file.name: file.read_bytes() for file in write_report(folder)} == first


def task_runs():
    """Two encoders on two regressions, a classification and all of them at once, as protocols of one corpus."""
    tasks = {"two": ["mood"], "type": ["sound"], "joint": ["mood", "sound"]}
    return [
        {
            "corpus": "hume_vb",
            "split_protocol": name,
            "tasks": kinds,
            "backbone": backbone,
            "right": right,
            "seed": seed,
        }
        for name, kinds in tasks.items()
        for backbone, right in (("facebook/wav2vec2-base", 0.5), ("facebook/wav2vec2-large", 0.8))
        for seed in (1, 2)
    ]


def test_tasks_of_every_kind_stand_in_one_report(made_up_sweep):
    claim = {**CLAIM, "better": {"backbone": "facebook/wav2vec2-large"}, "than": {"backbone": "facebook/wav2vec2-base"}}
    claim["matched_by"] = []
    report = {"metric": "mean_score", "num_resamples": 300, "claims": [claim], "score": True}
    folder = made_up_sweep(*task_runs(), report=report)
    files = write_report(folder)
    assert {file.name for file in files} == ALWAYS | {"heatmap.png", "claims.json", "scores.csv"}
    text = (folder / "report.md").read_text(encoding="utf-8")
    table = pd.read_csv(folder / "results.csv")
    assert dict(zip(table["split_protocol"], table["predicts"], strict=True)) == {
        "two": "numbers",
        "type": "classes",
        "joint": "several tasks",
    }
    # Each table by the score of its task.
    assert "CCC times 100 on test of hume_vb, protocol two (the A-VB task of this name" in text
    assert "UAR in per cent on test of hume_vb, protocol type" in text
    assert "Mean of CCC and UAR over the tasks times 100 on test of hume_vb, protocol joint" in text
    assert "Mean ± sample standard deviation over seeds." in text
    # All of them side by side, each with its mean over seeds.
    [row] = re.findall(r"^\| wav2vec2-large, frozen \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, flags=re.M)
    large = table[table["backbone"] == "facebook/wav2vec2-large"].groupby("split_protocol")
    expected = [
        large[f"test_{score}"].mean()[name]
        for name, score in zip(("two", "type", "joint"), ("ccc", "uar", "mean_score"), strict=True)
    ]
    assert [float(cell) for cell in row] == pytest.approx([100 * value for value in expected], abs=0.051)
    [tested] = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert (tested["verdict"], tested["num_comparisons"]) == ("holds", 3)
    assert text.count("here some predict numbers or several tasks") == 2  # and type has a leader board
    assert "not compared" not in text


def test_failed_runs_of_a_regression_are_listed_and_its_other_cells_stand(made_up_sweep):
    runs = [
        {"tasks": ["mood"], "right": 0.8},
        {"tasks": ["mood"], "backbone": "openai/whisper-base", "right": 0.5},
        {
            "tasks": ["mood"],
            "backbone": "openai/whisper-base",
            "seed": 2,
            "status": "failed",
            "error": "ResultsError: x",
        },
        {"tasks": ["mood"], "backbone": "openai/whisper-small", "status": "failed", "error": "ResultsError: x"},
    ]
    folder = made_up_sweep(*runs, report={"metric": "ccc", "num_resamples": 50})
    write_report(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "4 runs: 2 finished, 2 failed." in text
    assert "## Failed runs\n\n- `run2`\n- `run3`\n\n  ResultsError: x\n" in text
    assert re.search(r"^\| whisper-base \| .* \(1 of 2\) \|$", text, flags=re.M)


def test_a_test_part_without_references_has_no_table_and_validation_has_one(made_up_sweep):
    runs = [
        {"tasks": ["mood"], "missing": 1.0, "backbone": name, "right": right}
        for name, right in (("a", 0.5), ("b", 0.8))
    ]
    folder = made_up_sweep(*runs, report={"metric": "ccc", "splits": ["test", "validation"], "num_resamples": 50})
    write_report(folder)
    headings = re.findall(r"^### .*", (folder / "report.md").read_text(encoding="utf-8"), flags=re.M)
    assert headings[0] == "### vivae, speaker protocol, validation"
    assert not any("test" in heading for heading in headings)


def test_predictions_of_numbers_on_folds_are_averaged_and_not_put_together(made_up_sweep):
    runs = [
        {"tasks": ["mood"], "split_protocol": f"fold_{fold}", "first_clip": 200 * fold, "right": 0.7} for fold in (0, 1)
    ]
    folder = made_up_sweep(*runs, report={"metric": "ccc"})
    write_report(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "over folds" in text
    assert "predictions of all folds together" not in text
