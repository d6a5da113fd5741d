"""What the speed benchmarks share: clips, measurements in turn in processes of their own, and Markdown tables.

A script lists its cases (plain dictionaries) and gives a function that measures one. `run` starts a process for each
case, one after the other and then all over again, so that what else happens on the machine falls on all ways alike.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _memory import peak_mib

Case = dict[str, Any]
Result = dict[str, Any]

CORPUS = "nonverbal_vocalization"
MAX_SECONDS = 7.0
"""Longest clip, and what the stock ways pad every clip to: the LINKS study's number."""
BATCH_SIZE = 16
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
PACKAGES = ("nvv", "torch", "transformers", "peft", "datasets", "soundfile", "torchcodec")


def make_parser(description: str, *, repeats: int) -> argparse.ArgumentParser:
    """Make a parser of the options that every script has.

    Args:
        description: The script's docstring.
        repeats: Default of `--repeats`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=None,
        help="raw folder of the public sample of the Deeply Nonverbal Vocalization Dataset; none: synthetic clips",
    )
    parser.add_argument("--repeats", type=int, default=repeats, help="rounds; medians are printed")
    parser.add_argument("--num-clips", type=int, default=None, help="clips to measure with; none: the script's choice")
    parser.add_argument("--threads", type=int, default=None, help="torch's threads; none: as many as processors")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="processor: seconds of processor time, for machines that others use too; goes with --threads 1, because "
        "threads that wait for each other count as working",
    )
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument(
        "--quick", action="store_true", help="try the script out: tiny models, few clips, one process, no true figures"
    )
    parser.add_argument("--measure", type=json.loads, default=None, help=argparse.SUPPRESS)
    return parser


def run(
    cases: Sequence[Case],
    measure: Callable[[Case], Mapping[str, float]],
    *,
    script: str,
    arguments: argparse.Namespace,
    environment: Mapping[str, str] | None = None,
    with_corpus: bool = True,
) -> list[Result]:
    """Measure every case in every round.

    Args:
        cases: What to measure; handed to `measure` in another process as JSON.
        measure: Returns figures, `seconds` among them.
        script: The script's file, which is started with `--measure CASE`.
        arguments: The parsed options.
        environment: More environment variables for the processes.
        with_corpus: Whether the cases read the corpus, which is then built before.

    Returns:
        For each case its fields, the medians of its figures with `peak_mib`, and `runs`: the figures of each round.
    """
    common = {"data_dir": None if arguments.data_dir is None else str(arguments.data_dir.resolve())}
    common |= {"quick": arguments.quick, "threads": arguments.threads, "clock": arguments.clock}
    runs: list[list[dict[str, float]]] = [[] for _ in cases]
    with tempfile.TemporaryDirectory() as folder:
        # Built once, by whoever comes first: reading the raw corpus is part of no measurement.
        common["data_cache_dir"] = str(Path(folder) / "corpora")
        if with_corpus:
            load_splits(common)
        for number in range(arguments.repeats):
            # Every other round backwards, so that nothing is always first.
            for at in sorted(range(len(cases)), reverse=number % 2 == 1):
                case = {**common, **cases[at]}
                if arguments.quick:
                    figures = measured(measure, case)
                else:
                    figures = _in_another_process(script, case, environment or {})
                runs[at].append(figures)
                sys.stderr.write(f"round {number + 1}: {cases[at]}: {figures}\n")
    return [
        {**case, **{name: statistics.median(one[name] for one in rounds) for name in rounds[0]}, "runs": rounds}
        for case, rounds in zip(cases, runs, strict=True)
    ]


def measured(measure: Callable[[Case], Mapping[str, float]], case: Case) -> dict[str, float]:
    """Measure one case here and add this process's peak memory."""
    import torch

    if case["threads"]:
        torch.set_num_threads(case["threads"])
    return {**measure(case), "peak_mib": peak_mib()}


def print_json(figures: Mapping[str, float]) -> None:
    """Hand figures to the process that started this one."""
    sys.stdout.write(json.dumps(figures) + "\n")


def _in_another_process(script: str, case: Case, environment: Mapping[str, str]) -> dict[str, float]:
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, script, "--measure", json.dumps(case)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **quiet, **environment}
    )
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def load_splits(case: Mapping[str, Any]) -> Any:
    """Load the corpus of a case: the real sample where `data_dir` names it, otherwise the synthetic one."""
    from nvv import load_corpus

    name = CORPUS if case["data_dir"] else "synthetic"
    return load_corpus(name, data_dir=case["data_dir"], cache_dir=case["data_cache_dir"])


def clips_of(case: Mapping[str, Any], split: str, *, num_clips: int | None = None, **options: Any) -> Any:
    """Make a `ClipDataset` of a split.

    Args:
        case: Names the corpus.
        split: `train`, `validation`, `test`, or `all`.
        num_clips: Take so many, at even distances after sorting by length, so that lengths stay distributed as they
            are. None: all.
        options: Arguments of `ClipDataset`.
    """
    import datasets
    import numpy as np

    from nvv.training.dataset import ClipDataset

    splits = load_splits(case)
    chosen = datasets.concatenate_datasets(list(splits.values())) if split == "all" else splits[split]
    if num_clips is not None and num_clips < len(chosen):
        lengths = ClipDataset(chosen, max_seconds=MAX_SECONDS).lengths
        at = np.linspace(0, len(chosen) - 1, num=num_clips).round().astype(int)
        chosen = chosen.select(sorted(np.argsort(lengths, kind="stable")[at].tolist()))
    return ClipDataset(chosen, max_seconds=MAX_SECONDS, **options)


def backbone_config(backbone: str, *, quick: bool) -> Any:
    """Return the architecture of a published backbone; with `quick` a tiny one of its family."""
    from nvv.known_backbones_nvv import known_backbone_config

    config = known_backbone_config(backbone)
    if quick and config.model_type == "whisper":
        tiny = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
        config.update({**tiny, "num_hidden_layers": 2, "decoder_layers": 1, "decoder_ffn_dim": 64})
    elif quick:
        tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config.update({**tiny, "conv_dim": [16] * 7, "num_conv_pos_embedding_groups": 4})
    return config


def nvv_classifier(case: Mapping[str, Any], *, num_labels: int) -> tuple[Any, Any]:
    """Make our classifier with random weights, and its feature extractor."""
    from nvv import NvvForAudioClassification
    from nvv.loading_nvv import load_feature_extractor

    model = NvvForAudioClassification.from_backbone(
        case["backbone"],
        random_init=True,
        backbone_config=backbone_config(case["backbone"], quick=case["quick"]),
        max_seconds=MAX_SECONDS,
        num_labels=num_labels,
    )
    return model, load_feature_extractor(case["backbone"], random_init=True)


def now(case: Mapping[str, Any]) -> float:
    """Read the clock that a case is measured by, in seconds."""
    return CLOCKS[case["clock"]]()


def train_timed(trainer: Any, case: Case) -> float:
    """Run a Trainer's training; return the seconds of its loop, without what precedes it."""
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            times.append(now(case))

        on_train_end = on_train_begin

    trainer.add_callback(Clock())
    trainer.train()
    return times[1] - times[0]


def report(
    tables: Iterable[tuple[str, str]], results: Sequence[Result], *, arguments: argparse.Namespace, script: str
) -> None:
    """Print tables with what produced them, and write the figures to `--json`.

    Args:
        tables: Pairs of heading and Markdown.
        results: From `run`.
        arguments: The parsed options.
        script: The script's file.
    """
    facts = {
        "machine": machine_in_words(arguments.threads),
        "versions": versions_in_words(),
        "command": _command(script),
        "seconds": "of processor time" if arguments.clock == "processor" else "on the clock",
        "clips": "synthetic" if arguments.data_dir is None else CORPUS,
        "weights": "random: the figures are of speed and memory only",
    }
    if arguments.quick:
        facts["beware"] = "--quick, tiny models on few clips in one process: the figures mean nothing"
    lines = [*(f"- {name}: {value}" for name, value in facts.items()), ""]
    for heading, table in tables:
        lines += [*([f"**{heading}**", ""] if heading else []), table, ""]
    sys.stdout.write("\n".join(lines))
    if arguments.json:
        arguments.json.write_text(json.dumps({**facts, "results": list(results)}, indent=2) + "\n")


def machine_in_words(threads: int | None) -> str:
    """Describe the processors and the system."""
    import torch

    from nvv.processors import available_processors

    processors = available_processors()
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{processors} processors ({model}), {threads or torch.get_num_threads()} threads, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def versions_in_words() -> str:
    """List the packages that matter, as installed."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{package} {version}" for package, version in installed.items())


def _command(script: str) -> str:
    """Write the command without the places of this machine."""
    words, given = [], iter(sys.argv[1:])
    for word in given:
        name, _, value = word.partition("=")
        if name in ("--data-dir", "--json"):
            value = value or next(given, "")
            words += [name, f"RAW/{CORPUS}" if name == "--data-dir" else Path(value).name]
        else:
            words.append(word)
    return f"`python benchmarks/{Path(script).name} {shlex.join(words)}`".replace(" `", "`")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, num_text_columns: int = 1) -> str:
    """Lay out a table; the first columns are text, the others numbers."""
    rules = ["---"] * num_text_columns + ["---:"] * (len(headings) - num_text_columns)
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, rules, *rows))


def ratio_in_words(ours: Result, theirs: Result, figure: str = "seconds") -> str:
    """Say how many times as much the other needs: the ratio of medians, and the range over rounds."""
    by_round = [them[figure] / us[figure] for us, them in zip(ours["runs"], theirs["runs"], strict=True)]
    median = theirs[figure] / ours[figure]
    if len(by_round) == 1:
        return f"{median:.2f}"
    return f"{median:.2f} ({min(by_round):.2f}–{max(by_round):.2f})"
