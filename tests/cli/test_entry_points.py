"""What holds for every subcommand of `nvv`, whichever there are: help with an example, and errors of one line.

All run as the installed script and as `python -m nvv` do, one after the other in one process of its own, in an empty
folder and without a Hub.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nvv.cli import app

COMMANDS = typer.main.get_command(app).commands
SCRIPT = Path(sys.executable).with_name("nvv")
UNKNOWN = "--no-such-option"


def examples(name):
    """Return the lines of the command's example, each from `nvv` on and split into arguments."""
    lines = COMMANDS[name].epilog.partition("Example:\n")[2].replace("\\\n", " ").splitlines()
    split = [shlex.split(line) for line in lines if line.strip()]
    return [words[words.index("nvv") :] for words in split]


# Runs each list of arguments once as the installed script and once as the module, and prints what came of it.
DRIVER = """
import contextlib, io, json, runpy, sys, traceback

def run(start, arguments):
    sys.argv, status = ["nvv", *arguments], 0
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            start()
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            status = 1
            traceback.print_exc()
    return [status, *(stream.buffer.getvalue().decode() for stream in (out, err))]

script, cases = sys.argv[1], json.loads(sys.argv[2])
starts = (
    lambda: runpy.run_path(script, run_name="__main__"),
    lambda: runpy.run_module("nvv", run_name="__main__"),
)
print(json.dumps({name: [run(start, arguments) for start in starts] for name, arguments in cases.items()}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Of each case: status, standard output and standard error, as script and as module; and the folder they ran in."""
    folder = tmp_path_factory.mktemp("empty")
    cases = {"no-such-command": ["no-such-command"]}
    for name in COMMANDS:
        cases[f"{name} help"] = [name, "--help"]
        cases[f"{name} unknown"] = [name, UNKNOWN]
        cases[f"{name} alone"] = [name]
        cases |= {f"{name} example {at}": words[1:] for at, words in enumerate(examples(name))}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "home")}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(SCRIPT), json.dumps(cases)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment, "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def of_command(outcomes, name, kind):
    return [pair for case, pair in outcomes[0].items() if case.startswith(f"{name} {kind}")]


@pytest.mark.parametrize("name", COMMANDS)
def test_example_parses(name):
    command, lines = COMMANDS[name], examples(name)
    assert lines, f"nvv {name} has no example"
    for words in lines:
        assert words[:2] == ["nvv", name]
        # Unknown options, values of another kind, and arguments missing or too many are errors here.
        with command.make_context(name, words[2:]) as context:
            assert context.params


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help_holds_an_example_and_every_option_is_explained(name, outcomes):
    ((status, out, err), as_module) = of_command(outcomes, name, "help")[0]
    assert (status, err) == (0, "")
    assert as_module == [status, out, err]
    lines = [line.strip() for line in out.partition("Example:")[2].splitlines()]
    assert any(line.startswith(f"nvv {name} ") for line in lines)
    assert COMMANDS[name].help
    unexplained = [one.name for one in COMMANDS[name].params if not one.help]
    assert unexplained == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_bad_arguments_are_explained(name, outcomes):
    needs_arguments = any(parameter.required for parameter in COMMANDS[name].params)
    for kind in ("unknown", *(["alone"] if needs_arguments else [])):
        (as_script, as_module) = of_command(outcomes, name, kind)[0]
        status, out, err = as_script
        assert (status, out) == (2, "")
        assert as_module == as_script
        assert err.startswith(f"Usage: nvv {name} ")
        (reason,) = [line for line in err.splitlines() if line.startswith("Error: ")]
        assert (UNKNOWN if kind == "unknown" else "Missing ") in reason


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_there_is_one_line(name, outcomes):
    # The examples name models, corpora and folders that an empty folder without a Hub has not.
    for as_script, as_module in of_command(outcomes, name, "example"):
        status, out, err = as_script
        assert status in (1, 2), err
        assert out == ""
        assert err.startswith(f"nvv {name}: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert as_module == as_script
    assert list(outcomes[1].iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("start", [[str(SCRIPT)], [sys.executable, "-m", "nvv"]], ids=["script", "module"])
def test_commands_are_listed_in_a_process_of_their_own(start, tmp_path):
    done = subprocess.run([*start, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.slow
def test_command_that_is_none_is_an_error(outcomes):
    as_script, as_module = outcomes[0]["no-such-command"]
    assert as_module == as_script
    assert as_script[:2] == [2, ""]
    assert "Error: No such command 'no-such-command'" in as_script[2]


def test_help_does_not_wait_for_torch(tmp_path):
    code = """
import contextlib, io, json, sys
names = json.loads(sys.argv[1])
sys.argv = ["nvv"]
from nvv.cli import app
for name in names:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app([name, "--help"])
print(json.dumps(sorted({module.partition(".")[0] for module in sys.modules})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(list(COMMANDS))], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    heavy = {"datasets", "gradio", "matplotlib", "numpy", "pandas", "peft", "scipy", "torch", "transformers"}
    assert heavy.isdisjoint(json.loads(done.stdout))


def test_model_is_registered_unless_help_was_asked_for():
    code = "import sys; sys.argv = ['nvv']; import nvv; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    code = "import sys, nvv, transformers; print(transformers.AutoConfig.for_model('nvv').model_type)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "nvv\n"
