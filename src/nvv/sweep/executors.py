"""Where the runs of a sweep are worked through: in this process, by workers side by side, or as a Slurm job array.

Workers and jobs are `submitit`'s. Every worker may take every run, and what is claimed by another is left alone
(`work`), so a worker that dies costs the run that it was at, and the next invocation goes on. Own work.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from tqdm.auto import tqdm
from transformers.utils import logging

from ..processors import available_processors
from ..training.arguments import ArgumentsError
from .arguments import SweepArguments, key_values
from .plan import PlannedRun, Task
from .work import DONE, FAILED, WorkOptions, read_record, work_through

JOBS_FOLDER = "jobs"

_DEFAULT_WORKERS = 2
_POLL_SECONDS = 0.5
_A_YEAR_IN_MINUTES = 365 * 24 * 60  # submitit ends local jobs after five minutes unless told otherwise
# What submitit itself reads; everything else goes to sbatch as it is.
_OF_SUBMITIT = ("time", "setup", "teardown", "signal_delay_s", "srun_args", "use_srun", "stderr_to_stdout")
_NOT_FOR_SLURM = ("array", "array_parallelism", "nodes", "ntasks", "ntasks_per_node")

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker in another process: submitit pickles it there and calls it.

    Args:
        tasks: what it may take.
        sweep_dir: the sweep's folder.
        options: how it works.
    """

    tasks: tuple[Task, ...]
    sweep_dir: Path
    options: WorkOptions

    def __call__(self) -> None:
        """Work through the tasks."""
        work_through(self.tasks, self.sweep_dir, options=self.options)

    def checkpoint(self) -> Any:
        """Say how to go on after a timeout or preemption: by the same call, as every run resumes by itself."""
        return _submitit().helpers.DelayedSubmission(self)


def run_inline(tasks: Sequence[Task], sweep_dir: Path, *, options: WorkOptions) -> None:
    """Work through the tasks in this process.

    Args:
        tasks: all tasks.
        sweep_dir: the sweep's folder.
        options: how to work.
    """
    with _progress(tasks) as bar:

        def announce(run: PlannedRun) -> None:
            bar.update()
            record = read_record(sweep_dir, run)
            bar.set_postfix_str(f"{record.get('status', 'elsewhere')}: {run.run_id}")

        work_through(tasks, sweep_dir, options=options, announce=announce)


def run_local(tasks: Sequence[Task], sweep_dir: Path, *, options: WorkOptions, arguments: SweepArguments) -> None:
    """Work through the tasks with several workers on this machine, and wait for them.

    Args:
        tasks: all tasks.
        sweep_dir: the sweep's folder.
        options: how to work.
        arguments: number of workers, and threads of each.

    Raises:
        ArgumentsError: if submitit is not installed.
    """
    submitit = _submitit()
    num_workers = min(arguments.num_workers or _DEFAULT_WORKERS, len(_runs(tasks)))
    threads = arguments.cpu_threads or max(1, available_processors() // num_workers)
    folder = sweep_dir / JOBS_FOLDER / f"local-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    worker = Worker(tasks=tuple(tasks), sweep_dir=sweep_dir, options=options)
    jobs = []
    with _environment(OMP_NUM_THREADS=str(threads)):
        for number in range(num_workers):
            executor = submitit.LocalExecutor(folder=folder)
            executor.update_parameters(timeout_min=_A_YEAR_IN_MINUTES, setup=_device_of(number))
            jobs.append(executor.submit(worker))
    try:
        _wait(jobs, tasks, sweep_dir)
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel(check=False)
        raise
    dead = [number for number, job in enumerate(jobs, start=1) if not job.paths.result_pickle.exists()]
    for number in dead:
        logger.warning(
            f"Worker {number} of {num_workers} ended before its work did; see {jobs[number - 1].paths.stderr}."
        )
    if not dead:
        shutil.rmtree(folder)  # what the runs said is in their own logs


def submit_to_slurm(
    tasks: Sequence[Task], sweep_dir: Path, *, name: str, options: WorkOptions, arguments: SweepArguments
) -> list[str]:
    """Submit a job array, one job for each task, and return without waiting unless told to.

    A job that runs out of time or is preempted is queued again, and goes on where it was.

    Args:
        tasks: the tasks.
        sweep_dir: the sweep's folder, which the compute nodes must see under the same path.
        name: the job's name.
        options: how to work.
        arguments: the sbatch parameters, how many jobs at a time, and whether to wait.

    Returns:
        The job ids.

    Raises:
        ArgumentsError: if submitit is not installed, this is no Slurm cluster, or sbatch refuses the parameters.
    """
    submitit = _submitit()
    parameters = slurm_parameters(arguments, name=name)
    try:
        executor = submitit.SlurmExecutor(folder=sweep_dir / JOBS_FOLDER / "slurm")
        executor.update_parameters(**parameters)
        workers = [Worker(tasks=(task,), sweep_dir=sweep_dir, options=options) for task in tasks]
        jobs = executor.submit_array(workers)
    except (RuntimeError, ValueError, FileNotFoundError) as error:  # submitit's own; it has no base class for them
        raise ArgumentsError(f"executor: slurm: {error}") from error
    if arguments.wait:
        _wait(jobs, tasks, sweep_dir)
    return [job.job_id for job in jobs]


def slurm_parameters(arguments: SweepArguments, *, name: str) -> dict[str, Any]:
    """Turn `key=value` words into the parameters of submitit's Slurm executor.

    Args:
        arguments: with `slurm` and `num_workers`.
        name: the job's name, unless `job_name` is given.

    Returns:
        What `SlurmExecutor.update_parameters` takes.

    Raises:
        ArgumentsError: without a time limit, or for a parameter that the sweep sets itself.
    """
    words = key_values(arguments.slurm or (), field="slurm", example="partition=gpu")
    given = {key.replace("-", "_"): value for key, value in words.items()}
    for key in _NOT_FOR_SLURM:
        if key in given:
            raise ArgumentsError(
                f"slurm: {key} is not for you to set: each run is one process of an array. How many run at the same "
                "time is --num_workers."
            )
    if "time" not in given:
        raise ArgumentsError("slurm: say how long a job may take, such as --slurm time=4:00:00.")
    minutes = minutes_of(given.pop("time"))
    parameters: dict[str, Any] = {"time": minutes}
    others: dict[str, Any] = {}
    for key, text in given.items():
        value = yaml.safe_load(text)
        if key in _OF_SUBMITIT:
            parameters[key] = value
        else:
            others[key] = True if value is True else text  # true: a flag without a value
    parameters["additional_parameters"] = {"job_name": name, **others}
    if arguments.num_workers is not None:
        parameters["array_parallelism"] = arguments.num_workers
    return parameters


def minutes_of(limit: str) -> int:
    """Read a time limit as sbatch does, in minutes.

    Args:
        limit: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes` or
            `days-hours:minutes:seconds`.

    Returns:
        Minutes, rounded up; submitit wants a number.

    Raises:
        ArgumentsError: for anything else.

    Example:
        >>> minutes_of("1-2:30:00")
        1590
    """
    days, dash, rest = limit.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in [*parts, *([days] if dash else [])]) or len(parts) > 3:
        raise ArgumentsError(f"slurm: time: expected minutes, h:mm:ss or days-h:mm:ss, found {limit!r}.")
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = 0, *[*numbers, 0][:2]
    total = math.ceil(((int(days or 0) * 24 + hours) * 60) + minutes + seconds / 60)
    if total < 1:
        raise ArgumentsError(f"slurm: time: expected at least a minute, found {limit!r}.")
    return total


def _submitit() -> ModuleType:
    """Import submitit, which is an extra."""
    try:
        import submitit
        import submitit.helpers
    except ImportError as error:
        raise ArgumentsError(
            f"executor: local and slurm need submitit ({error}). Install it with: pip install 'nvv[sweep]'."
        ) from error
    return submitit


def _device_of(number: int) -> list[str]:
    """Return the shell command that gives a worker its GPU, in turn; submitit would hide them all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    return [f"export CUDA_VISIBLE_DEVICES={shlex.quote(devices[number % len(devices)])}"] if devices else []


def _wait(jobs: Sequence[Any], tasks: Sequence[Task], sweep_dir: Path) -> None:
    """Wait until all jobs have ended, and show how many runs have."""
    with _progress(tasks) as bar:
        ended: set[str] = set()
        is_over = False
        while not is_over:
            is_over = all(job.done() for job in jobs)
            for run in _runs(tasks):
                if run.run_id not in ended and read_record(sweep_dir, run).get("status") in (DONE, FAILED):
                    ended.add(run.run_id)
                    bar.update()
            if not is_over:
                time.sleep(_POLL_SECONDS)


def _runs(tasks: Sequence[Task]) -> list[PlannedRun]:
    return [run for task in tasks for run in task.runs]


@contextmanager
def _progress(tasks: Sequence[Task]) -> Iterator[tqdm]:
    """Show progress over runs on the terminal, also while a run's own output goes to its log."""
    with (
        os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal,
        tqdm(total=len(_runs(tasks)), unit="run", file=terminal, dynamic_ncols=True) as bar,
    ):
        yield bar


@contextmanager
def _environment(**variables: str) -> Iterator[Mapping[str, str]]:
    """Set environment variables for the processes started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield os.environ
    finally:
        os.environ.clear()
        os.environ.update(before)
