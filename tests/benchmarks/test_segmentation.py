import importlib
import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def script(monkeypatch):
    """Import the script, as python does when it runs it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    for name in ("_side_by_side", "_stock", "segmentation"):
        sys.modules.pop(name, None)
    yield importlib.import_module("segmentation")
    for name in ("_side_by_side", "_stock", "segmentation"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_script_measures_the_command_itself_when_tried_out(script, monkeypatch, tmp_path, capsys):
    command = ["--quick", "--repeats", "1", "--ways", "nvv", "--json", str(tmp_path / "figures.json")]
    monkeypatch.setattr(sys, "argv", ["segmentation.py", *command])
    script.main(command)
    (result,) = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["results"]
    assert result["seconds"] > 0
    assert result["times_real_time"] == pytest.approx(6 / result["seconds"])
    assert not {"model", "recording"} & set(result)
    printed = capsys.readouterr().out
    assert "| `nvv segment` | 0.1 |" in printed
    assert "the figures mean nothing" in printed


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one_batch", "pipeline", "stock_pipeline"])
def test_other_ways_score_every_window(way, script, tmp_path, capsys):
    model, recordings = script._make_inputs(tmp_path, {0.1}, {"data_dir": None, "quick": True})
    case = {"backbone": script.BACKBONE, "quick": True, "model": model, "recording": recordings[0.1], "way": way}
    script.main(["--naive", json.dumps(case)])  # raises where windows are missing
    assert capsys.readouterr().out == ""


def test_memory_and_time_are_those_of_the_process_that_works(script, monkeypatch, tmp_path):
    # A process that keeps 300 MiB and computes for half a second of processor time.
    work = "import time; held = b'x' * 300 * 2**20\nwhile time.process_time() < 0.5: pass"
    monkeypatch.setattr(script, "__file__", str(tmp_path / "work.py"))
    (tmp_path / "work.py").write_text(work)
    case = {"way": "one_batch", "minutes": 1.0, "model": "", "recording": "", "threads": 1, "clock": "processor"}
    figures = script.measure(case)
    assert 300 < figures["peak_mib"] < 340  # and not what this process holds
    assert 0.5 <= figures["seconds"] < 2
    assert figures["times_real_time"] == pytest.approx(60 / figures["seconds"])


def test_error_of_the_process_is_shown_when_it_fails(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "__file__", str(tmp_path / "missing.py"))
    case = {"way": "pipeline", "minutes": 1.0, "model": "", "recording": "", "threads": None, "clock": "wall"}
    with pytest.raises(RuntimeError, match=r"pipeline, 1\.0 minutes:(.|\n)*missing\.py"):
        script.measure(case)


def test_speed_without_the_start_is_that_of_the_difference(script):
    results = [
        {"way": "nvv", "minutes": 60.0, "seconds": 210.0, "peak_mib": 905.0},
        {"way": "nvv", "minutes": 10.0, "seconds": 60.0, "peak_mib": 900.0},
        {"way": "pipeline", "minutes": 90.0, "seconds": 1.0, "peak_mib": 1.0},
    ]
    # 50 minutes more in 150 s more.
    assert script._without_start(results) == (
        "`nvv segment` without its start: 20.0 times real time; 50 minutes more take 5 MiB more.\n"
    )
    assert script._without_start(results[1:]) == ""
