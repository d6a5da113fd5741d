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
