"""Decoding and feature extraction, milliseconds a clip: `nvv.audio` and our log-mel against the stock ones.

    python benchmarks/decoding.py --data-dir RAW/nonverbal_vocalization --json decoding.json

Decoding: from a row of the loaded corpus to a float32 waveform at 16 kHz, by `ClipDataset` and by `datasets`' Audio
feature, on the same Arrow table. From release 4 on `datasets` decodes with torchcodec, which needs FFmpeg's libraries;
before that, with soundfile through librosa. Where the system has no FFmpeg, the libraries inside the PyAV package do:

    pip install --no-deps --target codec torchcodec==0.11.1 av==16.1.0
    PYTHONPATH=codec python benchmarks/decoding.py ...

Features: log-mel spectrograms of decoded clips, by `WhisperFeatureExtractor` padded to 30 s (as the pipeline does) and
to 7 s, in batches of 16, and by ours in batches of like length. Every measurement runs in a process of its own, in
turn; medians are printed.
"""

import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from _side_by_side import (
    BATCH_SIZE,
    MAX_SECONDS,
    Case,
    Result,
    clips_of,
    load_splits,
    make_parser,
    markdown_table,
    measured,
    now,
    print_json,
    ratio_in_words,
    report,
    run,
)

RATE = 16_000
DECODING = {"decode nvv": "nvv", "decode datasets": "`datasets`' Audio feature"}
FEATURES = {
    "features nvv": "nvv, batches of like length",
    "features 7 s": "`WhisperFeatureExtractor`, padded to 7 s",
    "features 30 s": "`WhisperFeatureExtractor`, padded to 30 s",
}


def measure(case: Case) -> dict[str, float]:
    """Go over all clips; return seconds and milliseconds a clip."""
    if case["way"] in DECODING:
        work, num_clips = _decoding(case)
    else:
        work, num_clips = _features(case)
    times = []
    for _ in range(case["passes"] + 1):
        start = now(case)
        work()
        times.append(now(case) - start)
    seconds = sum(times[1:]) / case["passes"]  # the first pass reads the table into memory and loads libraries
    return {"seconds": seconds, "clips": num_clips, "milliseconds": 1000 * seconds / num_clips}


def _decoding(case: Case) -> tuple[Callable[[], None], int]:
    import datasets

    if case["way"] == "decode nvv":
        clips = clips_of(case, "all", num_clips=case["num_clips"])

        def by_nvv() -> None:
            for index in range(len(clips)):
                clips[index]

        return by_nvv, len(clips)
    table = datasets.concatenate_datasets(list(load_splits(case).values())).select_columns(["audio"])
    table = table.cast_column("audio", datasets.Audio(sampling_rate=RATE))
    if case["num_clips"] is not None and case["num_clips"] < len(table):
        table = table.select(range(case["num_clips"]))

    def by_datasets() -> None:
        for row in table:
            row["audio"]["array"]

    return by_datasets, len(table)


def _features(case: Case) -> tuple[Callable[[], None], int]:
    import torch
    from _stock import decoded, padded_features
    from transformers import WhisperFeatureExtractor

    from nvv.data.batches import length_sorted_batches
    from nvv.frontend_nvv import log_mel_spectrogram
    from nvv.loading_nvv import load_feature_extractor
    from nvv.training.collator import ClipCollator

    clips = clips_of(case, "all", num_clips=case["num_clips"])
    waveforms = decoded(clips)
    if case["way"] == "features nvv":
        collate = ClipCollator(load_feature_extractor("openai/whisper-tiny", random_init=True))
        limit = round(BATCH_SIZE * MAX_SECONDS * RATE)

        def by_nvv() -> None:
            for batch in length_sorted_batches([len(one) for one in waveforms], max_batch_samples=limit):
                inputs = collate([{"input_values": waveforms[index], "labels": 0} for index in batch])
                with torch.inference_mode():
                    log_mel_spectrogram(inputs["input_values"], num_mel_bins=80, continue_with_silence=True)

        return by_nvv, len(clips)
    seconds = 30 if case["way"] == "features 30 s" else round(MAX_SECONDS)
    extractor = WhisperFeatureExtractor(chunk_length=seconds)

    def by_stock() -> None:
        for start in range(0, len(waveforms), BATCH_SIZE):
            padded_features(extractor, waveforms[start : start + BATCH_SIZE], seconds=seconds)

    return by_stock, len(clips)


def ffmpeg_of_pyav(folder: Path) -> dict[str, str]:
    """Make FFmpeg's libraries inside the PyAV package findable by their usual names; return the environment for it.

    Args:
        folder: Where to put the links.
    """
    specification = importlib.util.find_spec("av")
    libraries = Path(specification.origin).parent.parent / "av.libs" if specification else Path()
    if specification is None or not libraries.is_dir():
        return {}
    for library in libraries.glob("lib*.so.*"):
        name, _, version = library.name.partition(".so.")
        link = folder / f"{name.rpartition('-')[0]}.so.{version.partition('.')[0]}"
        if not link.exists():
            link.symlink_to(library)
    before = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": os.pathsep.join([str(folder), str(libraries), *([before] if before else [])])}


def decoder_of_datasets() -> str | None:
    """Name what `datasets` decodes with here; None where it is not installed."""
    major = int(importlib.metadata.version("datasets").partition(".")[0])
    package = "torchcodec" if major >= 4 else "librosa"
    if importlib.util.find_spec(package) is None:
        return None
    return f"{package} {importlib.metadata.version(package)}"


def main(argv: list[str] | None = None) -> None:
    """Measure all cases and print the tables."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--passes", type=int, default=1, help="passes over the clips within a measurement")
    parser.add_argument("--ways", nargs="+", choices=(*DECODING, *FEATURES), default=[*DECODING, *FEATURES])
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print_json(measured(measure, arguments.measure))
        return
    decoder = decoder_of_datasets()
    ways = [way for way in arguments.ways if decoder or way != "decode datasets"]
    num_clips = arguments.num_clips or (8 if arguments.quick else None)
    cases = [{"way": way, "num_clips": num_clips, "passes": arguments.passes} for way in ways]
    with tempfile.TemporaryDirectory() as folder:
        environment = ffmpeg_of_pyav(Path(folder))
        results = run(cases, measure, script=__file__, arguments=arguments, environment=environment)
    heading = f"Decoding; `datasets` uses {decoder}" if decoder else "Decoding; `datasets`' decoder is not installed"
    tables = [(heading, _table(results, DECODING)), ("Log-mel features", _table(results, FEATURES))]
    report(tables, results, arguments=arguments, script=__file__)


def _table(results: list[Result], ways: dict[str, str]) -> str:
    chosen = [result for result in results if result["way"] in ways]
    rows = [
        [
            ways[result["way"]],
            f"{result['clips']:.0f}",
            f"{result['milliseconds']:.3f}",
            "1" if result is chosen[0] else ratio_in_words(chosen[0], result, "milliseconds"),
            f"{result['peak_mib']:.0f}",
        ]
        for result in chosen
    ]
    return markdown_table(("way", "clips", "ms a clip", "nvv is faster by", "peak memory, MiB"), rows)


if __name__ == "__main__":
    main()
