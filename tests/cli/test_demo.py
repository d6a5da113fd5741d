import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nvv.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["demo", *(str(argument) for argument in arguments)])


def test_space_is_written_and_the_output_says_how_to_push_it(make_run, tmp_path):
    result = run(make_run(), "--space-folder", tmp_path / "space", "--allow-any")
    assert result.exit_code == 0, result.output
    assert f"hf upload OWNER/NAME {tmp_path / 'space'} . --repo-type space" in result.stdout
    assert "allow_any=True" in (tmp_path / "space" / "app.py").read_text()


@pytest.mark.parametrize(
    "option", [("--host", "0.0.0.0"), ("--port", 7861), ("--share",), ("--device", "cpu")], ids=lambda option: option[0]
)
def test_option_is_refused_when_it_has_no_effect_on_a_space(make_run, tmp_path, option):
    result = run("nvv/tiny", "--space-folder", tmp_path / "space", *option)
    assert result.exit_code == 2
    assert result.stderr == f"nvv demo: {option[0]} has no effect on a Space; leave it out.\n"
    assert not (tmp_path / "space").exists()


def test_missing_gradio_is_said_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = run("nvv/tiny")
    assert result.exit_code == 2
    assert result.stderr == "nvv demo: needs gradio: pip install -e '.[demo]'\n"


def test_bad_input_ends_with_one_line_and_status_2(make_run, tmp_path):
    folder = make_run()
    for arguments, message in [
        ([tmp_path / "nothing"], "no such folder"),
        ([folder, folder], "is named twice"),
        ([folder, "--device", "tpu9"], "device: 'tpu9' cannot be used here"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_installed_command_says_that_a_port_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [Path(sys.executable).with_name("nvv"), "demo", "nvv/tiny", "--port", str(port)],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"nvv demo: --port: {port} cannot be used on 127.0.0.1 (")
    assert done.stdout == ""
    assert not list(tmp_path.glob("nvv-demo-*"))
