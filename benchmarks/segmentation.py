"""Long recordings: peak memory and speed of `nvv segment`, beside the ways one would come up with at once.

    python benchmarks/segmentation.py --json segmentation.json

Recordings with known events are generated first: clips in pink noise, FLAC. Every way is then a program
that starts, loads the same model (Whisper-tiny's size, random weights), looks at windows of 1 s every 0.25 s, and ends;
its seconds include that, and its peak memory is what the system counted for it. `nvv segment` is the command itself,
writing JSON and CSV. The others decode the whole recording, cut all windows, and give them to the model in one batch,
or to transformers' pipeline one after the other; and to the pipeline of a stock Whisper classifier, which pads every
window to 30 s, and is given a shorter recording therefore. Every measurement runs in turn; medians are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _side_by_side import (
    Case,
    Result,
    load_splits,
    make_parser,
    markdown_table,
    nvv_classifier,
    print_json,
    report,
    run,
)

BACKBONE = "openai/whisper-tiny"
WINDOW_SECONDS = 1.0
HOP_SECONDS = 0.25
RATE = 16_000
STARTER = str(Path(__file__).with_name("_process.py"))
WAYS = {
    "nvv": "`nvv segment`",
    "one_batch": "whole file, all windows in one batch",
    "pipeline": "whole file, pipeline, window by window",
    "stock_pipeline": "whole file, stock Whisper's pipeline (30 s)",
}
MINUTES = {"nvv": (10.0, 60.0), "one_batch": (10.0,), "pipeline": (10.0,), "stock_pipeline": (1.0,)}
QUICK_MINUTES = {"nvv": (0.1,), "one_batch": (0.1,), "pipeline": (0.1,), "stock_pipeline": (0.1,)}


def measure(case: Case) -> dict[str, float]:
    """Let a way work in a process of its own; return its seconds and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--window-seconds", str(WINDOW_SECONDS), "--hop-seconds", str(HOP_SECONDS), "--device", "cpu"]
        words = ["-m", "nvv", "segment", case["model"], case["recording"], "--output-dir", folder, *options]
        if case["way"] != "nvv":
            words = [__file__, "--naive", json.dumps(case)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        if case["threads"]:
            environment["OMP_NUM_THREADS"] = str(case["threads"])
        command = [sys.executable, STARTER, sys.executable, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{case['way']}, {case['minutes']} minutes:\n{done.stderr}")
    figures = json.loads(done.stdout)
    seconds = figures[case["clock"]]
    return {
        "seconds": seconds,
        "wall_seconds": figures["wall"],
        "times_real_time": 60 * case["minutes"] / seconds,
        "peak_mib": figures["peak_mib"],
    }


def _work_naively(case: Case) -> None:
    """Do what the other ways do, in this process."""
    import numpy as np
    import torch

    from nvv.audio import decode_audio

    waveform = decode_audio(case["recording"])
    window, hop = round(WINDOW_SECONDS * RATE), round(HOP_SECONDS * RATE)
    starts = range(0, max(1, len(waveform) - window + 1), hop)
    windows = [waveform[start : start + window] for start in starts]
    if case["way"] == "one_batch":
        from nvv.inference.load import load_classifier

        classifier = load_classifier(case["model"])
        inputs = classifier.feature_extractor(windows, sampling_rate=RATE, return_tensors="pt", padding=True)
        with torch.inference_mode():
            scores = classifier.model(**inputs).logits.softmax(dim=-1).numpy()
    else:
        classify = _stock_pipeline(case) if case["way"] == "stock_pipeline" else _pipeline(case)
        answers = [classify({"raw": window, "sampling_rate": RATE}, top_k=None) for window in windows]
        scores = np.array([[answer["score"] for answer in sorted(one, key=_label)] for one in answers])
    if len(scores) != len(windows):
        raise RuntimeError(f"{case['way']}: expected scores of {len(windows)} windows, found {len(scores)}.")


def _label(answer: Mapping[str, Any]) -> str:
    return answer["label"]


def _pipeline(case: Case) -> Any:
    from transformers import pipeline

    return pipeline("audio-classification", model=case["model"], trust_remote_code=True, device="cpu")


def _stock_pipeline(case: Case) -> Any:
    from _stock import WHISPER_SECONDS, stock_classifier, stock_feature_extractor
    from transformers import pipeline

    return pipeline(
        "audio-classification",
        model=stock_classifier(case, num_labels=8, seconds=WHISPER_SECONDS),
        feature_extractor=stock_feature_extractor(case, seconds=WHISPER_SECONDS),
        device="cpu",
    )


def _make_inputs(folder: Path, minutes: set[float], common: Mapping[str, Any]) -> tuple[str, dict[float, str]]:
    """Make a model's repository and recordings."""
    from nvv.hub.repository import save_repository
    from nvv.segmentation.generated import generate_recording

    clips = _clips(folder, common)
    model, feature_extractor = nvv_classifier({"backbone": BACKBONE, **common}, num_labels=len(clips))
    model.config.id2label = dict(enumerate(clips))
    model.config.label2id = {name: at for at, name in enumerate(clips)}
    save_repository(model, feature_extractor, folder / "model")
    recordings = {}
    for length in sorted(minutes):
        path = folder / f"{length:g}_minutes.flac"
        generate_recording(path, duration_s=60 * length, clips_by_label=clips, events_per_minute=6)
        recordings[length] = str(path)
    return str(folder / "model"), recordings


def _clips(folder: Path, common: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    """Return clips by label: those of the corpus's test split, or computed ones of five voices."""
    if common["data_dir"] is None:
        from nvv.data.synthesis import VOCALIZATIONS, synthesize

        return {name: [synthesize(name, voice) for voice in range(5)] for name in VOCALIZATIONS}
    from nvv.segmentation.generated import clips_of_split

    return clips_of_split(load_splits({**common, "data_cache_dir": str(folder / "corpora")})["test"])


def main(argv: list[str] | None = None) -> None:
    """Measure all cases and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--naive", type=json.loads, default=None, help="what a measured process does; no use by hand")
    arguments = parser.parse_args(argv)
    if arguments.naive:
        _work_naively(arguments.naive)
        return
    if arguments.measure:
        print_json(measure(arguments.measure))
        return
    lengths = QUICK_MINUTES if arguments.quick else MINUTES
    pairs = [(way, minutes) for way in arguments.ways for minutes in lengths[way]]
    common = {"data_dir": None if arguments.data_dir is None else str(arguments.data_dir.resolve())}
    common["quick"] = arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        model, recordings = _make_inputs(Path(folder), {minutes for _, minutes in pairs}, common)
        cases = [
            {"backbone": BACKBONE, "way": way, "minutes": minutes, "model": model, "recording": recordings[minutes]}
            for way, minutes in pairs
        ]
        results = run(cases, measure, script=__file__, arguments=arguments, with_corpus=False)
    for result in results:  # where they were on this machine is nobody's business
        del result["model"], result["recording"]
    report([("", _table(results))], results, arguments=arguments, script=__file__)
    sys.stdout.write(_without_start(results))


def _table(results: list[Result]) -> str:
    rows = [
        [
            WAYS[result["way"]],
            f"{result['minutes']:g}",
            f"{result['seconds']:.1f}",
            f"{result['times_real_time']:.1f}",
            f"{result['peak_mib']:.0f}",
        ]
        for result in results
    ]
    return markdown_table(("way", "minutes of audio", "seconds", "times real time", "peak memory, MiB"), rows)


def _without_start(results: list[Result]) -> str:
    """Say how fast it is once it has started: by the difference of the longest and the shortest recording."""
    ours = sorted((result for result in results if result["way"] == "nvv"), key=lambda result: result["minutes"])
    if len(ours) < 2:  # as when it is only tried out
        return ""
    minutes, seconds = (ours[-1][name] - ours[0][name] for name in ("minutes", "seconds"))
    grown = ours[-1]["peak_mib"] - ours[0]["peak_mib"]
    return (
        f"`nvv segment` without its start: {60 * minutes / seconds:.1f} times real time; {minutes:g} minutes more take "
        f"{grown:.0f} MiB more.\n"
    )


if __name__ == "__main__":
    main()
