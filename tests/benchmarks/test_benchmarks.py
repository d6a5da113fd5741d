import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = ("probe", "training", "inference", "decoding")


@pytest.fixture
def script(monkeypatch):
    """Import a script of the benchmarks folder, as python does when it runs one."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def load(name):
        for shared in ("_side_by_side", "_stock", name):
            sys.modules.pop(shared, None)
        return importlib.import_module(name)

    yield load
    for name in ("_side_by_side", "_stock", *SCRIPTS):
        sys.modules.pop(name, None)


@pytest.fixture
def run_quick(script, tmp_path, monkeypatch, capsys):
    """Run a script on a few synthetic clips; return its results and what it printed."""

    def run(name, *options):
        module = script(name)
        command = ["--quick", "--repeats", "1", *options, "--json", str(tmp_path / "figures.json")]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *command])
        module.main(command)
        return json.loads((tmp_path / "figures.json").read_text())["results"], capsys.readouterr().out

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "ways"),
    [
        ("decoding", (), {"decode nvv", "features nvv", "features 7 s", "features 30 s"}),
        ("training", ("--precisions", "fp32"), {"nvv", "stock"}),
        ("inference", ("--precisions", "bf16"), {"nvv", "batches", "pipeline"}),
        ("probe", (), {"nvv", "nvv warm", "nvv pass", "stock", "stock pass"}),
    ],
)
def test_script_measures_every_way_and_prints_a_table_when_tried_out(name, options, ways, run_quick):
    results, printed = run_quick(name, *options)

    assert ways <= {result["way"] for result in results} <= ways | {"decode datasets"}
    assert all(result["seconds"] > 0 and result["peak_mib"] > 0 for result in results)
    assert sum(line.startswith("| ") for line in printed.splitlines()) >= len(results) + 2
    assert f"`python benchmarks/{name}.py --quick" in printed
    assert "the figures mean nothing" in printed


@pytest.mark.slow
def test_cases_are_measured_in_processes_of_their_own_when_not_tried_out(script, capsys):
    ways = ["decode nvv", "features nvv"]
    script("decoding").main(["--num-clips", "4", "--repeats", "2", "--passes", "1", "--ways", *ways])
    captured = capsys.readouterr()

    assert "figures mean nothing" not in captured.out
    rounds = [line for line in captured.err.splitlines() if line.startswith("round ")]
    measured = [line.partition("'way': '")[2].partition("'")[0] for line in rounds]
    assert measured == [*ways, *reversed(ways)]  # the second round goes backwards


def test_ratio_states_the_range_over_rounds_when_there_are_several(script):
    shared = script("_side_by_side")
    ours = {"seconds": 2.0, "runs": [{"seconds": 2.0}, {"seconds": 4.0}, {"seconds": 1.0}]}
    theirs = {"seconds": 6.0, "runs": [{"seconds": 6.0}, {"seconds": 6.0}, {"seconds": 7.0}]}

    # Round by round 6/2, 6/4 and 7/1; of the medians 6/2.
    assert shared.ratio_in_words(ours, theirs) == "3.00 (1.50–7.00)"


def test_command_names_no_place_of_this_machine(script, monkeypatch):
    shared = script("_side_by_side")
    options = ["--data-dir", "/home/me/raw", "--repeats", "3", "--json=/tmp/out/figures.json"]
    monkeypatch.setattr(sys, "argv", ["/home/me/benchmarks/probe.py", *options])

    command = shared._command("/home/me/benchmarks/probe.py")

    assert command == (
        "`python benchmarks/probe.py --data-dir RAW/nonverbal_vocalization --repeats 3 --json figures.json`"
    )


def test_clips_keep_the_distribution_of_lengths_when_a_part_is_taken(script, tmp_path):
    shared = script("_side_by_side")
    case = {"data_dir": None, "data_cache_dir": str(tmp_path)}
    everything, part = (sorted(shared.clips_of(case, "all", num_clips=number).lengths) for number in (None, 11))

    assert len(part) == 11
    assert part[0] == everything[0]
    assert part[-1] == everything[-1]
    assert abs(part[5] - everything[len(everything) // 2]) < 0.05 * everything[-1]
