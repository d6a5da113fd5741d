"""Run a grid of probes, trainings and baselines, resume it where it stopped, and write one report on all of them.

    python recipes/sweep.py recipes/grids/smoke.yaml
    python recipes/sweep.py GRID.yaml --dry_run true
    python recipes/sweep.py GRID.yaml --data_dirs vivae=PATH_TO/vivae --executor local --num_workers 4
    python recipes/sweep.py GRID.yaml --executor slurm --slurm partition=gpu time=4:00:00 gpus_per_node=1 mem=32G

The same command goes on where the last one stopped: finished runs are kept, a killed training run goes on from its last
checkpoint, a failed one is tried again. `--push_to_hub true --hub_dataset_id YOU/results` uploads the report, without
the runs, to a dataset repository of results, private by default; a run that you chose: `nvv push RUN_FOLDER YOU/NAME`.
Options may also stand in YAML files after the grid. Every option is listed by `--help`; how a grid is written stands in
`nvv.sweep.grid`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nvv.hub.push import PushError
from nvv.hub.push_arguments import ResultsPushArguments
from nvv.hub.push_report import push_asked_report
from nvv.sweep.arguments import SweepArguments
from nvv.sweep.grid import Grid, read_grid
from nvv.sweep.plan import expand_grid, group_runs
from nvv.sweep.run import SweepResult, run_sweep
from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import parse_groups

PROGRAM = "recipes/sweep.py GRID.yaml"


def main() -> None:
    """Read grid and options, run, and say how every run ended."""
    try:
        grid, arguments, push = parse(sys.argv[1:])
        if arguments.dry_run and push.push_to_hub:
            raise ArgumentsError("push_to_hub: has no effect with dry_run, which runs nothing; leave one of them out.")
        if arguments.dry_run:
            list_runs(grid, arguments)
            return
        result = run_sweep(grid, arguments)
    except (ValueError, FileNotFoundError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where this one stopped.", file=sys.stderr)
        sys.exit(130)
    tell(result)
    upload(result, push)
    sys.exit(0 if result.is_complete else 1)


def parse(words: Sequence[str]) -> tuple[Grid, SweepArguments, ResultsPushArguments]:
    """Read the grid that the first word names, and the options after it."""
    if not words or (words[0].startswith("-") and not {"-h", "--help"} & set(words)):
        raise ArgumentsError("Expected a grid first: python recipes/sweep.py GRID.yaml [OPTIONS.yaml …] [--option …].")
    is_help = words[0].startswith("-")
    grid = None if is_help else read_grid(Path(words[0]))
    arguments, push = parse_groups(
        words if is_help else words[1:],
        (SweepArguments, ResultsPushArguments),
        program=PROGRAM,
        default_output_dir=lambda _: f"runs/sweep_{grid.name}",
    )
    return grid, arguments, push


def upload(result: SweepResult, push: ResultsPushArguments) -> None:
    """Upload the report, if that was asked for and it is written."""
    if push.push_to_hub and not result.report:
        print("Nothing was uploaded, for there is no report yet.")
        return
    try:
        pushed = push_asked_report(result.output_dir, push)
    except (PushError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if pushed is not None:
        print(f"uploaded: {pushed.url}, commit {pushed.commit[:12]}")


def list_runs(grid: Grid, arguments: SweepArguments) -> None:
    """Print every run of the grid, and how many share a feature pass."""
    runs = expand_grid(grid, arguments)
    for run in runs:
        print(f"{run.recipe:8} {run.run_id}")
    probes = [task for task in group_runs(runs) if task.runs[0].recipe == "probe"]
    num_probes = sum(len(task.runs) for task in probes)
    print(f"{len(runs)} runs. {num_probes} of them are probes and share {len(probes)} feature passes.")


def tell(result: SweepResult) -> None:
    """Print how every run ended, and where everything is."""
    print(f"{len(result.done)} done, {len(result.failed)} failed, {len(result.remaining)} remaining", end="")
    print(f", {len(result.running)} running elsewhere." if result.running else ".")
    for run_id, error in result.failed.items():
        print(f"failed: {run_id}: {error}")
    if result.failed:
        print(f"The tracebacks: {result.output_dir}/runs/*/error.txt. The same command tries these runs again.")
    if result.job_ids:
        print(f"Slurm jobs: {', '.join(result.job_ids)}")
    for file in result.report:
        print(file)
    if result.job_ids and not result.report:
        print("When they have ended, the same command with --executor report writes the report.")


if __name__ == "__main__":
    main()
