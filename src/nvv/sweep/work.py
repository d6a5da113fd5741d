"""Runs what is planned: claims a run, resumes or begins it, records how it ended, and goes on after a failure.

A run's folder is its own: whoever holds the lock in it works there, so that two workers, or two sweeps at once, never
run the same run at the same time. `run.json` is written last: a run without one, or with another status than `done`,
is run again, a training run from its last whole checkpoint. Who calls this, and how often side by side, is left to
`executors`. Own work.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from transformers.utils import logging

from ..baselines import run_baseline
from ..files import write_text
from ..training.checkpoints import LAST, OutputFolderError, last_complete_checkpoint
from ..training.config_files import RunArguments
from ..training.probe import probe
from ..training.run import train
from .plan import PlannedRun, Task, arguments_of
from .table import RUN_FILE, RUNS_FOLDER

LOG_FILE = "log.txt"
ERROR_FILE = "error.txt"
DONE, FAILED, RUNNING, REMAINING = "done", "failed", "running", "remaining"

_LOCK_FILE = ".lock"
_TASK_LOCKS = ".locks"
# Whoever only looks whether a run is in somebody's hands holds its lock for a moment, and must not scare a worker off.
_CLAIM_SECONDS = 0.5
_KEPT = (_LOCK_FILE, LOG_FILE)

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """How a worker works.

    Args:
        retry_failed: try again what failed before this sweep was started.
        keep_checkpoints: keep the checkpoints of finished runs.
        started_at: when the sweep was started, in seconds since 1970: what failed later is not tried again.
    """

    retry_failed: bool = True
    keep_checkpoints: bool = False
    started_at: float = 0.0


def run_folder(sweep_dir: Path, run: PlannedRun) -> Path:
    """Return the folder of a run."""
    return sweep_dir / RUNS_FOLDER / run.run_id


def read_record(sweep_dir: Path, run: PlannedRun) -> dict[str, Any]:
    """Read how a run ended.

    Args:
        sweep_dir: the sweep's folder.
        run: the run.

    Returns:
        The content of its `run.json`; empty if it has none that can be read.
    """
    try:
        record = json.loads((run_folder(sweep_dir, run) / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return record if isinstance(record, dict) else {}


def state_of(sweep_dir: Path, run: PlannedRun) -> str:
    """Say whether a run is `done`, `failed`, `running` in some process, or `remaining`."""
    status = read_record(sweep_dir, run).get("status")
    if status in (DONE, FAILED):
        return status
    lock = run_folder(sweep_dir, run) / _LOCK_FILE
    if not lock.is_file():
        return REMAINING
    try:
        with FileLock(lock, blocking=False):
            return REMAINING
    except Timeout:
        return RUNNING
    except OSError:
        return REMAINING


def work_through(
    tasks: Sequence[Task],
    sweep_dir: Path,
    *,
    options: WorkOptions,
    announce: Callable[[PlannedRun], None] | None = None,
) -> None:
    """Run whatever of the tasks nobody else is running, one run after another.

    Args:
        tasks: all tasks of the sweep.
        sweep_dir: its folder.
        options: how to work.
        announce: called with each run when it has been dealt with, whoever ran it.
    """
    left = []
    for task in tasks:
        with _claimed(sweep_dir / _TASK_LOCKS / task.name, timeout=0) as is_ours:
            if not is_ours:
                left.append(task)  # somebody computes its features: elsewhere there is more to do
                continue
            _run_all(task, sweep_dir, options=options, announce=announce)
    for task in left:
        _run_all(task, sweep_dir, options=options, announce=announce)


def _run_all(
    task: Task, sweep_dir: Path, *, options: WorkOptions, announce: Callable[[PlannedRun], None] | None
) -> None:
    for run in task.runs:
        run_one(run, sweep_dir, options=options)
        if announce is not None:
            announce(run)


def run_one(run: PlannedRun, sweep_dir: Path, *, options: WorkOptions) -> None:
    """Run a run, unless it is done, or in other hands; a failure is recorded, not raised.

    Args:
        run: the run.
        sweep_dir: the sweep's folder.
        options: how to work.
    """
    if _is_settled(run, sweep_dir, options=options):
        return  # without touching its folder
    folder = run_folder(sweep_dir, run)
    started = time.monotonic()
    try:
        with _claimed(folder / _LOCK_FILE, timeout=_CLAIM_SECONDS) as is_ours:
            # Read again: whoever held the lock may have just finished it.
            if not is_ours or _is_settled(run, sweep_dir, options=options):
                return
            with _output_to(folder / LOG_FILE), _left_as_it_was():
                error = _attempt(run, folder, options=options)
            seconds = round(time.monotonic() - started, 3)
            _record(run, folder, error=error, seconds=seconds)
    except OSError as error:  # a folder that cannot be written, even to say so
        logger.error(f"{run.run_id}: {_one_line(error)}")


def _is_settled(run: PlannedRun, sweep_dir: Path, *, options: WorkOptions) -> bool:
    """Say whether nothing is to be done for a run."""
    record = read_record(sweep_dir, run)
    if record.get("status") != FAILED:
        return record.get("status") == DONE
    return not options.retry_failed or record.get("finished_at", 0.0) >= options.started_at


def _attempt(run: PlannedRun, folder: Path, *, options: WorkOptions) -> Exception | None:
    """Run a run in its folder; return what went wrong."""
    try:
        for name in (RUN_FILE, ERROR_FILE):
            (folder / name).unlink(missing_ok=True)
        _execute(run, folder)
        if not options.keep_checkpoints:
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
    except Exception as error:  # whatever it is, the other runs go on; it is recorded and listed
        traceback.print_exc()
        return error
    return None


def _execute(run: PlannedRun, folder: Path) -> None:
    """Do what the run's recipe does."""
    if run.recipe == "train":
        if last_complete_checkpoint(folder) is not None:
            try:
                train(RunArguments(*_arguments(run, folder, "--resume_from_checkpoint", LAST)))
                return
            except OutputFolderError as error:  # left by another version of nvv, which knew other settings
                logger.warning(f"{error} It is begun anew.")
        _clear(folder)
        train(RunArguments(*_arguments(run, folder)))
        return
    _clear(folder)
    if run.recipe == "probe":
        *groups, probe_arguments = _arguments(run, folder)
        probe(RunArguments(*groups), probe_arguments)
        return
    data, baseline = _arguments(run, folder)
    [(features, classifier)] = baseline.pairs
    run_baseline(
        data, features=features, classifier=classifier, seed=baseline.seed, settings=baseline, output_dir=folder
    )


def _arguments(run: PlannedRun, folder: Path, *options: str) -> tuple[Any, ...]:
    return arguments_of(run, options=("--output_dir", str(folder), *options))


def _clear(folder: Path) -> None:
    """Delete what an attempt left that was killed or failed."""
    for path in folder.iterdir():
        if path.name in _KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _record(run: PlannedRun, folder: Path, *, error: Exception | None, seconds: float) -> None:
    """Write how a run ended; last of all, whole or not at all."""
    if error is not None:
        write_text(folder / ERROR_FILE, "".join(traceback.format_exception(error)))
    record = {
        **run.record(),
        "status": DONE if error is None else FAILED,
        "error": None if error is None else _one_line(error),
        "seconds": seconds,
        "finished_at": time.time(),
    }
    write_text(folder / RUN_FILE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


@contextmanager
def _claimed(lock_file: Path, *, timeout: float) -> Iterator[bool]:
    """Hold a lock if nobody else does; the system frees it when the process ends, however it ends."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Append to a file whatever is written to the process's output, by whatever library."""
    streams = (sys.stdout, sys.stderr)
    for stream in streams:
        stream.flush()
    saved = [os.dup(number) for number in (1, 2)]
    try:
        with file.open("ab") as log:
            for number in (1, 2):
                os.dup2(log.fileno(), number)
        yield
    finally:
        for stream in streams:
            stream.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    """Undo what a run changes in its process, so that the next one starts as it would alone; free its memory."""
    environment, threads = dict(os.environ), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
