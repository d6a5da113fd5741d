"""Time and peak memory of `nvv prepare` on many copies' worth of clips, beside `datasets`' own ways to Parquet.

    python benchmarks/prepare.py --data-dir RAW/nonverbal_vocalization --copies 1 10 100 --repeats 3

`RAW/nonverbal_vocalization` is the public sample of the Deeply Nonverbal Vocalization Dataset (727 clips). Copies are
hard links to its files under names of new speakers, in a temporary folder that is removed at the end. Every measurement
runs in a process of its own; medians are printed as a Markdown table, all figures go to `--json`. `datasets`' own two
routes need torchcodec from release 4 on; where it is missing they are left out.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _memory import peak_mib

CORPUS = "nonverbal_vocalization"
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def build_copies(source: Path, target: Path, copies: int) -> int:
    """Link each WAV file below `source` so many times, each time with new speakers; return the number of files."""
    files = [path for path in sorted(source.rglob("*.wav")) if not path.name.startswith(".")]
    speakers = sorted({path.name[:4] for path in files})
    for copy in range(copies):
        renamed = {speaker: _code(copy * len(speakers) + number) for number, speaker in enumerate(speakers)}
        for path in files:
            link = target / "dataset" / path.parent.name / (renamed[path.name[:4]] + path.name[4:])
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, link)
            except OSError:  # another file system
                link.symlink_to(path)
    return copies * len(files)


def _code(number: int) -> str:
    """Write a number as four letters and digits, the grammar of the corpus's speakers."""
    code = ""
    for _ in range(4):
        number, digit = divmod(number, len(LETTERS))
        code = LETTERS[digit] + code
    return code


def prepare(raw: Path, output: Path, num_workers: int | None) -> None:
    """The command under test."""
    from nvv.hub.dataset_repository import prepare_corpus

    prepare_corpus(CORPUS, data_dir=raw, output_dir=output, num_workers=num_workers)


def describe(raw: Path, output: Path, num_workers: int | None) -> None:  # noqa: ARG001
    """What precedes the audio: listing the clips and computing all splits."""
    from nvv.data import corpus_builder
    from nvv.hub.dataset_configs import assign_parts

    builder = corpus_builder(CORPUS)(cache_dir=str(output), data_dir=str(raw))
    assign_parts(builder, builder.collect_clips())


def import_only(raw: Path, output: Path, num_workers: int | None) -> None:  # noqa: ARG001
    """The package and its libraries, nothing else."""
    import nvv.hub.dataset_repository  # noqa: F401


def audiofolder(raw: Path, output: Path, num_workers: int | None) -> None:
    """`datasets`' own route: one split, no check of the audio; bytes are put in as `push_to_hub` does."""
    import datasets
    from datasets.table import embed_table_storage

    loaded = datasets.load_dataset(
        "audiofolder", data_dir=str(raw), cache_dir=str(output / "cache"), num_proc=num_workers, split="train"
    )
    embedded = loaded.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100)
    embedded.with_format(None).to_parquet(str(output / "train.parquet"))


def from_generator(raw: Path, output: Path, num_workers: int | None) -> None:  # noqa: ARG001
    """`datasets`' route for rows of Python objects: one split, no check of the audio."""
    import datasets

    from nvv.data import corpus_builder

    builder = corpus_builder(CORPUS)(cache_dir=str(output / "builder"), data_dir=str(raw))
    clips = builder.collect_clips()

    def rows() -> object:
        for clip in clips:
            yield {
                "audio": {"bytes": builder.read_clip(clip), "path": clip.file},
                "label": clip.label,
                "file": clip.file,
                "speaker_id": clip.speaker_id,
                **clip.metadata,
            }

    made = datasets.Dataset.from_generator(rows, features=builder.info.features, cache_dir=str(output / "cache"))
    made.to_parquet(str(output / "train.parquet"))


TASKS: dict[str, Callable[[Path, Path, int | None], None]] = {
    "import": import_only,
    "describe": describe,
    "prepare": prepare,
    "audiofolder": audiofolder,
    "from_generator": from_generator,
}


def measure(task: str, raw: Path, num_workers: int | None) -> dict[str, float]:
    """Run a task here, in a fresh process, and return seconds, peak memory and output size."""
    import nvv.hub.dataset_repository  # noqa: F401  # its seconds are not the task's

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=raw.parent) as folder:
        output = Path(folder) / CORPUS
        if task != "prepare":
            output.mkdir()
        start = time.perf_counter()
        TASKS[task](raw, output, num_workers)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in output.rglob("*.parquet"))
    return {"seconds": seconds, "peak_mib": peak_mib(), "output_mib": size / 2**20}


def main() -> None:
    """Build the copies, run every task several times, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="raw folder of the 727 clips")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--num-workers", type=int, default=None)
    parser.add_argument("--work-dir", type=Path, default=None, help="where to build; hard links need the same disk")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument("--measure", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        sys.stdout.write(json.dumps(measure(arguments.measure, arguments.data_dir, arguments.num_workers)) + "\n")
        return
    results = []
    for copies in arguments.copies:
        folder = Path(tempfile.mkdtemp(dir=arguments.work_dir))
        try:
            num_clips = build_copies(arguments.data_dir.resolve(), folder / "raw", copies)
            for task in (task for task in arguments.tasks if _can_run(task)):
                runs = [_run(task, folder / "raw", arguments.num_workers) for _ in range(arguments.repeats)]
                medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
                results.append({"task": task, "clips": num_clips, **medians, "runs": runs})
                sys.stderr.write(f"{task} {num_clips}: {medians}\n")
        finally:
            shutil.rmtree(folder)
    if arguments.json:
        machine = f"{os.cpu_count()} processors, {platform.platform()}, Python {platform.python_version()}"
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    lines = ["| task | clips | seconds | peak memory, MiB | output, MiB |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {row['task']} | {row['clips']:,} | {row['seconds']:.1f} | {row['peak_mib']:.0f} | {row['output_mib']:.0f} |"
        for row in results
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _can_run(task: str) -> bool:
    """Tell whether the installed `datasets` can encode audio by itself."""
    major = int(importlib.metadata.version("datasets").partition(".")[0])
    return (
        task not in ("audiofolder", "from_generator") or major < 4 or importlib.util.find_spec("torchcodec") is not None
    )


def _run(task: str, raw: Path, num_workers: int | None) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", task, "--data-dir", str(raw)]
    if num_workers:
        command += ["--num-workers", str(num_workers)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
