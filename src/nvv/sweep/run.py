"""A sweep from its grid to its report: plan, work through, tell how every run ended, write the tables.

Each step is another module's. Own work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from ..training.arguments import ArgumentsError
from .arguments import SweepArguments, key_values
from .checks import check_folders
from .executors import run_inline, run_local, submit_to_slurm
from .grid import Grid
from .plan import PlannedRun, Task, expand_grid, group_runs, write_plan
from .work import DONE, FAILED, REMAINING, RUNNING, WorkOptions, read_record, state_of

_REPORT_LOCK = ".report.lock"


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """How a sweep stands.

    Args:
        output_dir: its folder.
        done: ids of finished runs.
        failed: what went wrong, by run id.
        running: ids of runs that another process is at.
        remaining: ids of runs that are still to be done.
        job_ids: Slurm's, where runs were submitted.
        report: files of the report.
    """

    output_dir: Path
    done: list[str]
    failed: Mapping[str, str]
    running: list[str]
    remaining: list[str]
    job_ids: list[str] = field(default_factory=list)
    report: list[Path] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing failed, and what is not done is on its way elsewhere."""
        return not self.failed and (not self.remaining or bool(self.job_ids))


def run_sweep(grid: Grid, arguments: SweepArguments) -> SweepResult:
    """Run whatever of a grid is not yet done, and write the report.

    Args:
        grid: the grid.
        arguments: where, by whom, and how much at a time.

    Returns:
        How every run ended.

    Raises:
        ArgumentsError: for a grid or options that cannot be used, before anything runs.

    Example:
        >>> result = run_sweep(read_grid(Path("grid.yaml")), SweepArguments(output_dir="runs/x"))  # doctest: +SKIP
        >>> result.failed  # doctest: +SKIP
        {}
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ArgumentsError(
            "A sweep is started by python, not by accelerate launch with several processes: runs side by side are "
            "--executor local --num_workers N."
        )
    runs = expand_grid(grid, arguments)
    given = key_values(arguments.data_dirs or (), field="data_dirs", example="vivae=PATH_TO/vivae")
    if arguments.executor != "report":
        check_folders((run.values["corpus"] for run in runs), {**grid.data_dirs, **given})
    sweep_dir = Path(arguments.output_dir).absolute()
    write_plan(sweep_dir, grid, runs)
    job_ids = _work(group_runs(runs), sweep_dir, name=grid.name, arguments=arguments)
    result = _standing(runs, sweep_dir, job_ids=job_ids)
    if (result.done or result.failed) and (not job_ids or arguments.wait):
        result.report.extend(_write_report(sweep_dir))
    return result


def _work(tasks: list[Task], sweep_dir: Path, *, name: str, arguments: SweepArguments) -> list[str]:
    """Let the executor work through the tasks; return the ids of submitted jobs."""
    options = WorkOptions(
        retry_failed=arguments.retry_failed, keep_checkpoints=arguments.keep_checkpoints, started_at=time.time()
    )
    unsettled = [task for task in tasks if not all(_is_settled(run, sweep_dir, options) for run in task.runs)]
    if not unsettled or arguments.executor == "report":
        return []
    if arguments.executor == "slurm":
        return submit_to_slurm(unsettled, sweep_dir, name=f"nvv_{name}", options=options, arguments=arguments)
    if arguments.executor == "local":
        run_local(unsettled, sweep_dir, options=options, arguments=arguments)
    else:
        run_inline(unsettled, sweep_dir, options=options)
    return []


def _is_settled(run: PlannedRun, sweep_dir: Path, options: WorkOptions) -> bool:
    status = read_record(sweep_dir, run).get("status")
    return status == DONE or (status == FAILED and not options.retry_failed)


def _standing(runs: list[PlannedRun], sweep_dir: Path, *, job_ids: list[str]) -> SweepResult:
    """Read how every run stands."""
    states: dict[str, list[PlannedRun]] = {DONE: [], FAILED: [], RUNNING: [], REMAINING: []}
    for run in runs:
        states[state_of(sweep_dir, run)].append(run)
    return SweepResult(
        output_dir=sweep_dir,
        done=[run.run_id for run in states[DONE]],
        failed={run.run_id: str(read_record(sweep_dir, run).get("error")) for run in states[FAILED]},
        running=[run.run_id for run in states[RUNNING]],
        remaining=[run.run_id for run in states[REMAINING]],
        job_ids=job_ids,
    )


def _write_report(sweep_dir: Path) -> list[Path]:
    """Write the report; two sweeps that end at once write it one after the other."""
    from .report import write_report  # matplotlib and scipy, which planning and workers do without

    with FileLock(sweep_dir / _REPORT_LOCK):
        return write_report(sweep_dir)
