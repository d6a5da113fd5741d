"""What a sweep can be told beside its grid: where, by whom, and how much at a time.

What is run is the grid's business (`grid`). Own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..training.arguments import ArgumentsError

EXECUTORS = ("inline", "local", "slurm", "report")

# Options that act with some executors only.
_EXECUTORS_OF = {"num_workers": ("local", "slurm"), "slurm": ("slurm",), "wait": ("slurm",)}


@dataclass
class SweepArguments:
    """Where a sweep writes, where its corpora are, and what runs it.

    Raises:
        ArgumentsError: for a value outside its range, or an option that the executor does not have.
    """

    output_dir: str = field(default="", metadata={"help": "Folder of the sweep; none: runs/sweep_NAME."})
    data_dirs: list[str] | None = field(
        default=None,
        metadata={"help": "corpus=folder for each corpus that needs its folder of raw recordings."},
    )
    corpora: list[str] | None = field(
        default=None, metadata={"help": "Only the grid's runs on these corpora; none: all of them."}
    )
    data_cache_dir: str | None = field(
        default=None, metadata={"help": "Where prepared corpora are kept; none: the datasets library's own cache."}
    )
    features_cache_dir: str | None = field(
        default=None, metadata={"help": "Where the features of frozen backbones are kept; none: the probe's default."}
    )
    executor: str = field(
        default="inline",
        metadata={
            "help": "inline: one run after another, in this process. local: several workers side by side on this "
            "machine. slurm: a job array. report: run nothing, write the report on what is there."
        },
    )
    num_workers: int | None = field(
        default=None,
        metadata={"help": "local: workers side by side; none: 2. slurm: jobs at the same time; none: Slurm decides."},
    )
    cpu_threads: int | None = field(
        default=None,
        metadata={"help": "Threads of each run whose grid does not say; none: with local, the cores divided."},
    )
    retry_failed: bool = field(default=True, metadata={"help": "Try again what failed when the sweep ran before."})
    keep_checkpoints: bool = field(
        default=False, metadata={"help": "Keep the checkpoints of finished runs; the best one is the model saved."}
    )
    slurm: list[str] | None = field(
        default=None,
        metadata={
            "help": "key=value for each sbatch parameter, such as partition=gpu time=4:00:00 gpus_per_node=1 mem=32G "
            'cpus_per_task=8; setup=["module load cuda"] for commands before the run.'
        },
    )
    wait: bool = field(default=False, metadata={"help": "slurm: stay until all jobs have ended."})
    dry_run: bool = field(default=False, metadata={"help": "List the runs, and run nothing."})

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        if not self.output_dir:
            raise ArgumentsError("output_dir: expected a folder, found nothing.")
        if self.executor not in EXECUTORS:
            raise ArgumentsError(f"executor: expected one of {', '.join(EXECUTORS)}; found {self.executor!r}.")
        for name in ("num_workers", "cpu_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentsError(f"{name}: expected at least 1, found {value}.")
        for item in dataclasses.fields(self):
            executors = _EXECUTORS_OF.get(item.name)
            if executors and self.executor not in executors and getattr(self, item.name) != item.default:
                raise ArgumentsError(
                    f"{item.name}: has no effect with executor {self.executor}; it belongs to "
                    f"{' and '.join(executors)}."
                )
        key_values(self.data_dirs or (), field="data_dirs", example="vivae=PATH_TO/vivae")
        key_values(self.slurm or (), field="slurm", example="partition=gpu")


def key_values(words: Sequence[str], *, field: str, example: str) -> dict[str, str]:
    """Split `key=value` words.

    Args:
        words: the words.
        field: the field that they come from, for the error.
        example: one that is right, for the error.

    Returns:
        Value by key, in the words' order.

    Raises:
        ArgumentsError: for a word without key or value, or a key given twice.
    """
    pairs: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key or not value:
            raise ArgumentsError(f"{field}: expected key=value such as {example}, found {word!r}.")
        if key in pairs:
            raise ArgumentsError(f"{field}: {key} is given twice.")
        pairs[key] = value
    return pairs
