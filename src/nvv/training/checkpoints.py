"""Which checkpoints a run can go on from, and whether a folder belongs to another run.

The Trainer takes the checkpoint with the highest number, also one that was being written when the process was killed.
Here a checkpoint counts only if every file in it is whole. Own work.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from transformers.trainer_callback import TrainerState
from transformers.utils import logging

from .arguments import ArgumentsError

LAST = "last"
METRICS_NAME = "metrics.json"

_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")
_STATE_NAME = "trainer_state.json"
_NEEDED_FILES = (_STATE_NAME, "optimizer.pt", "scheduler.pt")

# Settings that say where and how fast a run works, not what comes out of it: a resumed run may change them.
_MAY_DIFFER = {
    "output_dir",
    "data_dir",
    "data_cache_dir",
    "cpu_threads",
    "decoded_audio_mebibytes",
    "max_batch_seconds",
    "num_bootstrap_resamples",
    "per_device_eval_batch_size",
    "push_to_hub",
    "report_to",
    "run_name",
    "save_total_limit",
}
_MAY_DIFFER_PREFIXES = ("dataloader_", "hub_", "logging_", "torch_compile")

# What a run writes: the model repository, the results, the checkpoints.
_RUN_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*_nvv.py",
    "*.png",
    "README.md",
    "adapter_config.json",
    "config.json",
    "config_resolved.yaml",
    "layer_scores.csv",
    "metrics.json",
    "predictions.csv",
    "preprocessor_config.json",
    "probe.json",
)

logger = logging.get_logger(__name__)


class OutputFolderError(ArgumentsError):
    """The output folder holds what this run would overwrite, or another run than the one to resume."""


def is_complete(checkpoint: Path) -> bool:
    """Say whether a checkpoint can be resumed from.

    Args:
        checkpoint: a folder `checkpoint-STEP`.

    Returns:
        Whether the Trainer's state, the optimiser's, the scheduler's, the random state and the weights are all there
        and whole. The state file is written last, so a process killed while saving leaves none; truncated files, which
        a machine going down leaves, are found by their formats' own bookkeeping.
    """
    if any(not (checkpoint / name).is_file() for name in _NEEDED_FILES):
        return False
    weights = list(checkpoint.glob("*.safetensors"))
    random_states = list(checkpoint.glob("rng_state*.pth"))
    if not weights or not random_states:
        return False
    try:
        state = json.loads((checkpoint / _STATE_NAME).read_text(encoding="utf-8"))
        for file in weights:
            with safe_open(file, framework="pt"):
                pass  # opening compares the file's size with its header
    except (json.JSONDecodeError, SafetensorError):
        return False
    torch_files = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random_states]
    return f"checkpoint-{state.get('global_step')}" == checkpoint.name and all(map(zipfile.is_zipfile, torch_files))


def last_complete_checkpoint(output_dir: Path) -> Path | None:
    """Find the newest checkpoint that can be resumed from.

    Args:
        output_dir: a run's folder, which need not exist.

    Returns:
        The checkpoint with the highest step among the complete ones, or None. A warning names each newer, incomplete
        one.
    """
    numbered = {int(match[1]): path for path in _checkpoints(output_dir) if (match := _number(path))}
    for step in sorted(numbered, reverse=True):
        if is_complete(numbered[step]):
            return numbered[step]
        logger.warning(f"{numbered[step]}: incomplete, as after a kill while it was written; trying the one before.")
    return None


def _checkpoints(output_dir: Path) -> list[Path]:
    """List the checkpoint folders of a run."""
    return [path for path in output_dir.glob("checkpoint-*") if path.is_dir() and _number(path)]


def _number(path: Path) -> re.Match[str] | None:
    return _CHECKPOINT_NAME.fullmatch(path.name)


def checkpoint_to_resume(output_dir: Path, resume_from_checkpoint: str | None) -> Path | None:
    """Resolve `resume_from_checkpoint`.

    Args:
        output_dir: the run's folder.
        resume_from_checkpoint: None, `last`, or a checkpoint's folder.

    Returns:
        The checkpoint to go on from, or None to start afresh: nothing was asked for, or `last` found no complete one,
        which is said in the log.

    Raises:
        OutputFolderError: for a folder that is no complete checkpoint.
    """
    if not resume_from_checkpoint:
        return None
    if resume_from_checkpoint == LAST:
        found = last_complete_checkpoint(output_dir)
        if found is None:
            logger.warning(f"{output_dir}: no complete checkpoint to resume from; the run starts at the beginning.")
        return found
    checkpoint = Path(resume_from_checkpoint)
    if not is_complete(checkpoint):
        raise OutputFolderError(
            f"resume_from_checkpoint: expected `{LAST}` or the folder of a complete checkpoint, found {checkpoint}."
        )
    return checkpoint


def prepare_output_folder(
    output_dir: Path, config: Mapping[str, Any], *, config_name: str, resume: bool, overwrite: bool
) -> None:
    """Make the run's folder, or refuse it.

    Args:
        output_dir: the folder.
        config: the run's resolved configuration.
        config_name: name of the file that such a configuration has in a run's folder.
        resume: whether the run goes on from what is in the folder.
        overwrite: whether to delete what another run left: its checkpoints and what a run writes, nothing else.

    Raises:
        OutputFolderError: if the folder holds a run and neither `resume` nor `overwrite` is set, or `resume` is set and
            the run in the folder was configured differently.
    """
    existing = output_dir / config_name
    # A configuration alone is a run that was killed before its first checkpoint: starting anew loses nothing.
    is_run = (output_dir / METRICS_NAME).is_file() or bool(_checkpoints(output_dir))
    if resume and existing.is_file():
        _check_same_run(existing, config)
    elif overwrite and is_run:
        _delete_run(output_dir)
    elif is_run and not resume:
        state = "a finished run" if (output_dir / METRICS_NAME).is_file() else "an unfinished run"
        raise OutputFolderError(
            f"output_dir: {output_dir} holds {state}. Choose another folder, go on with it "
            f"(--resume_from_checkpoint {LAST}), or delete it first (--overwrite_output_dir true)."
        )
    output_dir.mkdir(parents=True, exist_ok=True)


def _delete_run(output_dir: Path) -> None:
    """Delete what a run wrote, and leave what somebody else put beside it."""
    logger.warning(f"{output_dir}: deleting the run in it (overwrite_output_dir).")
    for checkpoint in _checkpoints(output_dir):
        shutil.rmtree(checkpoint)
    for pattern in _RUN_FILES:
        for file in output_dir.glob(pattern):
            file.unlink()


def _check_same_run(existing: Path, config: Mapping[str, Any]) -> None:
    """Raise if a resumed run would train something else than the one that was started."""
    before = yaml.safe_load(existing.read_text(encoding="utf-8"))
    changed = [
        f"{name} (was {before.get(name)!r}, now {config.get(name)!r})"
        for name in sorted({*before, *config} - _MAY_DIFFER)
        if before.get(name) != config.get(name) and not name.startswith(_MAY_DIFFER_PREFIXES)
    ]
    if changed:
        raise OutputFolderError(
            f"{existing.parent}: the run to resume was configured differently: {'; '.join(changed)}. "
            "Resume with the same settings, or choose another output_dir."
        )


def stopped_early_at(checkpoint: Path) -> int | None:
    """Say whether the run had already stopped early when it was killed.

    Args:
        checkpoint: a complete checkpoint.

    Returns:
        The step at which early stopping had run out of patience, or None.
    """
    state = TrainerState.load_from_json(str(checkpoint / _STATE_NAME))
    stored = state.stateful_callbacks.get("EarlyStoppingCallback")
    for item in stored if isinstance(stored, list) else [stored] if stored else []:
        if item["attributes"]["early_stopping_patience_counter"] >= item["args"]["early_stopping_patience"]:
            return state.global_step
    return None
