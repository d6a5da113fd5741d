"""Inference in clips a second: `classify_clips` against transformers' pipeline and the stock model in padded batches.

    python benchmarks/inference.py --data-dir RAW/nonverbal_vocalization --json inference.json

From encoded files to logits: every way decodes the clips itself, with `nvv.audio`. Ours sorts by length and masks
padding; the stock batches hold 16 clips padded to 7 s; the stock pipeline takes one clip after the other (its default)
and pads it to Whisper's 30 s, so it is given a part of the clips, of the same distribution of lengths. bf16 means
weights and features in bfloat16, on all sides. Weights are random. Every measurement runs in a process of its own, in
turn; medians are printed.
"""

from collections.abc import Callable

import torch
from _side_by_side import (
    BATCH_SIZE,
    MAX_SECONDS,
    Case,
    Result,
    clips_of,
    make_parser,
    markdown_table,
    measured,
    now,
    nvv_classifier,
    print_json,
    ratio_in_words,
    report,
    run,
)

from nvv.training.dataset import ClipDataset

Classify = Callable[[ClipDataset], int]

BACKBONES = ("openai/whisper-tiny", "facebook/wav2vec2-base")
NUM_CLIPS = {"openai/whisper-tiny": 727, "facebook/wav2vec2-base": 96}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PIPELINE_SHARE = 12
"""The pipeline is given one clip of so many."""
WAYS = {"nvv": "nvv", "batches": "stock model, batches padded to 7 s", "pipeline": "stock pipeline"}


def measure(case: Case) -> dict[str, float]:
    """Classify all clips; return seconds and clips a second."""
    clips = clips_of(case, "all", num_clips=case["num_clips"])
    num_labels = len(clips.label_names)
    ways = {"nvv": _by_nvv, "batches": _by_batches, "pipeline": _by_pipeline}
    classify = ways[case["way"]](case, num_labels)
    classify(clips_of(case, "all", num_clips=2))
    start = now(case)
    num_classified = classify(clips)
    seconds = now(case) - start
    if num_classified != len(clips):
        raise RuntimeError(f"{case['way']}: expected results of {len(clips)} clips, found {num_classified}.")
    return {"seconds": seconds, "clips": len(clips), "clips_per_second": len(clips) / seconds}


def _by_nvv(case: Case, num_labels: int) -> Classify:
    from nvv.inference import classify_clips

    model, feature_extractor = nvv_classifier(case, num_labels=num_labels)
    bf16 = case["precision"] == "bf16"

    def classify(clips: ClipDataset) -> int:
        return len(classify_clips(model, feature_extractor, clips, bf16=bf16, show_progress=False))

    return classify


def _by_batches(case: Case, num_labels: int) -> Classify:
    from _stock import padded_features, stock_classifier, stock_feature_extractor

    dtype = DTYPES[case["precision"]]
    model = stock_classifier(case, num_labels=num_labels).to(dtype)
    extractor = stock_feature_extractor(case)

    @torch.inference_mode()
    def classify(clips: ClipDataset) -> int:
        num_classified = 0
        for start in range(0, len(clips), BATCH_SIZE):
            indices = range(start, min(start + BATCH_SIZE, len(clips)))
            batch = padded_features(extractor, [clips[index]["input_values"] for index in indices])
            inputs = {name: value.to(dtype) for name, value in batch.items()}
            num_classified += len(model(**inputs).logits)
        return num_classified

    return classify


def _by_pipeline(case: Case, num_labels: int) -> Classify:
    from _stock import RATE, WHISPER_SECONDS, stock_classifier, stock_feature_extractor
    from transformers import pipeline

    is_whisper = "whisper" in case["backbone"]
    seconds = WHISPER_SECONDS if is_whisper else MAX_SECONDS
    classifier = pipeline(
        "audio-classification",
        model=stock_classifier(case, num_labels=num_labels, seconds=seconds).to(DTYPES[case["precision"]]),
        feature_extractor=stock_feature_extractor(case, seconds=seconds),
        device="cpu",
    )

    def classify(clips: ClipDataset) -> int:
        waveforms = (clips[index]["input_values"] for index in range(len(clips)))
        return len([classifier({"raw": waveform, "sampling_rate": RATE}) for waveform in waveforms])

    return classify


def main(argv: list[str] | None = None) -> None:
    """Measure all cases and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print_json(measured(measure, arguments.measure))
        return
    cases = []
    for backbone in arguments.backbones:
        num_clips = arguments.num_clips or (24 if arguments.quick else NUM_CLIPS[backbone])
        for precision in arguments.precisions:
            for way in WAYS:
                share = PIPELINE_SHARE if way == "pipeline" else 1
                case = {"backbone": backbone, "precision": precision, "way": way}
                cases.append({**case, "num_clips": max(2, num_clips // share)})
    results = run(cases, measure, script=__file__, arguments=arguments)
    report([("", _table(results))], results, arguments=arguments, script=__file__)


def _table(results: list[Result]) -> str:
    rows = []
    for result in results:
        key = ("backbone", "precision")
        ours = next(one for one in results if one["way"] == "nvv" and all(one[k] == result[k] for k in key))
        rows.append(
            [
                result["backbone"].partition("/")[2],
                result["precision"],
                WAYS[result["way"]],
                f"{result['clips']:.0f}",
                f"{result['clips_per_second']:.2f}",
                "1" if result is ours else ratio_in_words(result, ours, "clips_per_second"),
                f"{result['peak_mib']:.0f}",
            ]
        )
    headings = ("backbone", "precision", "way", "clips", "clips a second", "nvv is faster by", "peak memory, MiB")
    return markdown_table(headings, rows, num_text_columns=3)


if __name__ == "__main__":
    main()
