"""The batch scripts and commands of recipes/cluster: their syntax, and whether what they start knows their options."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from nvv.commands.tag import tag

FOLDER = Path(__file__).parents[2] / "recipes" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))

# What Slurm's manual documents of sbatch (https://slurm.schedmd.com/sbatch.html), as far as it is used here.
SBATCH_OPTIONS = {
    "--job-name",
    "--nodes",
    "--ntasks-per-node",
    "--gpus-per-node",
    "--cpus-per-task",
    "--time",
    "--output",
    "--requeue",
    "--partition",
    "--account",
}


@pytest.fixture
def submitted(tmp_path):
    """The function that runs a batch script where Slurm and the launcher only write down what they are given."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in {
        "scontrol": 'seq --format "host%.0f" 7 100000',  # more than fits a pipe that nobody reads to its end
        "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "torchrun": 'printf "%s\\0" "$@" > launched',
        "accelerate": 'printf "%s\\0" "$@" > launched',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_NODELIST": "host[7-8]",
        "SLURM_NNODES": "2",
        "SLURM_NODEID": "1",
        "SLURM_JOB_ID": "123456",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }

    def run(script, *arguments):
        done = subprocess.run(
            ["bash", FOLDER / script, *arguments],
            env={**os.environ, **slurm},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        launched = tmp_path / "launched"
        return done, launched.read_text().split("\0")[:-1] if launched.is_file() else None

    return run


def nvv_tag_options():
    """Every option that `nvv tag` has."""
    app = typer.Typer()
    app.command()(tag)
    return {option for parameter in typer.main.get_command(app).params for option in parameter.opts}


def test_there_are_batch_scripts():
    assert [script.name for script in SCRIPTS] == ["tag.sbatch", "train.sbatch"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_batch_script_is_bash_with_known_options(script):
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0
    named = re.findall(r"^#+SBATCH (--[\w-]+)", script.read_text(), flags=re.MULTILINE)
    assert set(named) <= SBATCH_OPTIONS
    assert "--nodes" in named


def test_tag_script_starts_torchrun_when_it_is_submitted(submitted):
    done, launched = submitted("tag.sbatch", "runs/a model", "nvv/vivae", "/shared/out", "--streaming", "--column", "x")
    assert done.returncode == 0, done.stderr
    options = get_args_parser().parse_args(launched)
    assert options.nnodes == "2"
    assert options.nproc_per_node == "gpu"
    assert options.rdzv_backend == "c10d"
    assert options.rdzv_endpoint == "host7:23456"
    assert options.rdzv_id == "123456"
    assert options.module
    assert options.training_script == "nvv"
    expected = ["tag", "runs/a model", "nvv/vivae", "--output-dir", "/shared/out", "--streaming", "--column", "x"]
    assert options.training_script_args == expected
    assert {word for word in options.training_script_args if word.startswith("--")} <= nvv_tag_options()


def test_train_script_starts_accelerate_when_it_is_submitted(submitted):
    done, launched = submitted("train.sbatch", "/shared/runs/a run", "a.yaml", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert launched[0] == "launch"
    options = launch_command_parser().parse_args(launched[1:])
    assert options.multi_gpu
    assert (options.num_machines, options.num_processes, options.machine_rank) == (2, 8, 1)
    assert (options.main_process_ip, options.main_process_port) == ("host7", 23456)
    assert options.training_script == "recipes/train.py"
    assert options.training_script_args == [
        *("a.yaml", "--seed", "7"),
        *("--output_dir", "/shared/runs/a run", "--resume_from_checkpoint", "last"),
    ]


@pytest.mark.parametrize(("script", "arguments"), [("tag.sbatch", ["m", "d"]), ("train.sbatch", ["out"])])
def test_batch_script_says_how_it_is_used_when_arguments_are_missing(submitted, script, arguments):
    done, launched = submitted(script, *arguments)
    assert done.returncode != 0
    assert f"sbatch {script}" in done.stderr
    assert launched is None


def commands_of_readme():
    """The commands that start a launcher, each as its words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (FOLDER / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [
        words
        for line in lines
        if (words := shlex.split(line, comments=True)) and words[0] in ("torchrun", "accelerate")
    ]


@pytest.mark.parametrize("words", commands_of_readme(), ids=" ".join)
def test_readme_names_options_that_the_launchers_and_nvv_tag_have(words):
    if words[0] == "accelerate":
        options = launch_command_parser().parse_args(words[2:])
        assert options.config_file is None or (FOLDER.parents[1] / options.config_file).is_file()
    else:
        options = get_args_parser().parse_args(words[1:])
    assert options.module
    assert options.training_script == "nvv"
    assert options.training_script_args[0] == "tag"
    assert {word for word in options.training_script_args if word.startswith("--")} <= nvv_tag_options()


def test_readme_shows_every_way_to_start():
    assert sum(words[0] == "torchrun" for words in commands_of_readme()) == 3
    assert sum(words[0] == "accelerate" for words in commands_of_readme()) == 3
