"""A linear probe of 50 epochs, from encoded clips to scores: `nvv`'s against the stock way, and one bare encoder pass.

    python benchmarks/probe.py --data-dir RAW/nonverbal_vocalization --json probe.json

- `nvv`: `nvv.training.probe.probe` with one seed, one weight decay and the weighted sum only, from an empty feature
  cache: decoding, one pass of the encoder, 50 epochs of the head with a validation after each, test scores with
  intervals, plots, card and repository. And once more with the cache that this left.
- stock: `WhisperForAudioClassification` (or `Wav2Vec2ForSequenceClassification`) with a frozen encoder and the weighted
  layer sum in transformers' `Trainer`, batches of 16 × 2, every clip padded to 7 s by the feature extractor, decoded
  clips kept in memory, a validation after each epoch, the test at the end. A few epochs (`--stock-epochs`) are measured
  and scaled to 50: setting up and testing once, plus 50 times the mean epoch.
- bare passes: the encoder alone over the same clips, decoded before: ours in batches of like length with padding
  masked, the stock one in batches of 16 padded to 7 s.

Weights are random. Importing Python packages is left out everywhere. Every measurement runs in a process of its own, in
turn; medians are printed.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from _side_by_side import (
    BATCH_SIZE,
    MAX_SECONDS,
    Case,
    Result,
    backbone_config,
    load_splits,
    make_parser,
    markdown_table,
    measured,
    now,
    nvv_classifier,
    print_json,
    ratio_in_words,
    report,
    run,
    train_timed,
)

BACKBONES = ("openai/whisper-tiny", "facebook/wav2vec2-base")
NUM_EPOCHS = 50
RATE = 16_000
SPLITS = ("train", "validation", "test")
WAYS = {
    "nvv": "nvv probe, empty cache",
    "nvv warm": "nvv probe, features cached",
    "nvv pass": "bare pass, masked batches",
    "stock": "stock `Trainer`, frozen encoder, padded to 7 s",
    "stock pass": "bare pass, stock encoder padded to 7 s",
}


def measure(case: Case) -> dict[str, float]:
    """Measure one way; return seconds, for the stock way those of 50 epochs."""
    ways = {"nvv": _by_nvv, "nvv warm": _by_nvv, "stock": _by_stock, "nvv pass": _our_pass, "stock pass": _stock_pass}
    return ways[case["way"]](case)


def _by_nvv(case: Case) -> dict[str, float]:
    from nvv.training.arguments import DataArguments, ModelArguments, NvvTrainingArguments
    from nvv.training.config_files import RunArguments
    from nvv.training.probe import probe
    from nvv.training.probe_arguments import ProbeArguments
    from nvv.training.tuning import TuningArguments

    with tempfile.TemporaryDirectory() as folder:
        backbone = case["backbone"]
        if case["quick"]:
            backbone = str(Path(folder) / "backbone")
            backbone_config(case["backbone"], quick=True).save_pretrained(backbone)
        training: dict[str, Any] = {"num_train_epochs": NUM_EPOCHS, "report_to": [], "disable_tqdm": True}
        training |= {"use_cpu": True, "bf16": case["precision"] == "bf16", "cpu_threads": torch.get_num_threads()}

        def run_once(name: str) -> float:
            start = now(case)
            probe(
                RunArguments(
                    ModelArguments(backbone=backbone, random_init=True, max_seconds=MAX_SECONDS),
                    DataArguments(
                        corpus="nonverbal_vocalization" if case["data_dir"] else "synthetic",
                        data_dir=case["data_dir"],
                        data_cache_dir=case["data_cache_dir"],
                        max_train_clips=case["num_clips"],
                        max_evaluation_clips=case["num_clips"],
                    ),
                    TuningArguments(method="frozen"),
                    NvvTrainingArguments(output_dir=str(Path(folder) / name), **training),
                ),
                ProbeArguments(
                    num_seeds=1,
                    weight_decays=[0.01],
                    single_layers=False,
                    features_cache_dir=str(Path(folder) / "features"),
                ),
            )
            return now(case) - start

        seconds = run_once("empty")
        if case["way"] == "nvv warm":
            seconds = run_once("warm")
    return {"seconds": seconds}


def _by_stock(case: Case) -> dict[str, float]:
    from _stock import PaddedCollator, stock_classifier, stock_feature_extractor
    from transformers import Trainer, TrainingArguments

    from nvv.metrics import classification_scores

    start = now(case)
    clips = {split: _some_clips(case, split) for split in SPLITS}
    model = stock_classifier(case, num_labels=len(clips["train"].label_names))
    if model.config.model_type == "whisper":
        model.freeze_encoder()
    else:
        model.freeze_base_model()

    def scores(evaluation: Any) -> dict[str, float]:
        predictions = evaluation.predictions[0] if isinstance(evaluation.predictions, tuple) else evaluation.predictions
        return classification_scores(
            evaluation.label_ids, predictions.argmax(axis=-1), num_labels=predictions.shape[-1]
        )

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=case["stock_epochs"],
            per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=BATCH_SIZE,
            gradient_accumulation_steps=2,
            learning_rate=1e-4,
            weight_decay=0.01,
            bf16=case["precision"] == "bf16",
            use_cpu=True,
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            model,
            arguments,
            data_collator=PaddedCollator(stock_feature_extractor(case)),
            train_dataset=clips["train"],
            eval_dataset=clips["validation"],
            compute_metrics=scores,
        )
        epochs = train_timed(trainer, case)
        trainer.predict(clips["test"])
    around = now(case) - start - epochs
    mean_epoch = epochs / case["stock_epochs"]
    return {"seconds": around + NUM_EPOCHS * mean_epoch, "epoch_seconds": mean_epoch}


def _some_clips(case: Case, split: str) -> Any:
    """Make the dataset of a split as `nvv.training.run` does."""
    from nvv.training.dataset import ClipDataset, evenly_taken

    taken = evenly_taken(load_splits(case)[split], num_clips=case["num_clips"])
    return ClipDataset(taken, max_seconds=MAX_SECONDS, random_crops=split == "train", memory_mebibytes=1024)


def _all_waveforms(case: Case) -> tuple[list[Any], int]:
    from _stock import decoded

    clips = {split: _some_clips(case, split) for split in SPLITS}
    return [waveform for some in clips.values() for waveform in decoded(some)], len(clips["train"].label_names)


@torch.inference_mode()
def _our_pass(case: Case) -> dict[str, float]:
    from nvv.data.batches import length_sorted_batches
    from nvv.training.collator import ClipCollator

    waveforms, num_labels = _all_waveforms(case)
    model, feature_extractor = nvv_classifier(case, num_labels=num_labels)
    collate = ClipCollator(feature_extractor)

    def encode(some: list[Any]) -> None:
        batches = length_sorted_batches(
            [len(one) for one in some], max_batch_samples=round(BATCH_SIZE * MAX_SECONDS * RATE)
        )
        for batch in batches:
            inputs = collate([{"input_values": some[index], "labels": 0} for index in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=case["precision"] == "bf16"):
                model.encode(inputs["input_values"], inputs["attention_mask"])

    encode(waveforms[:4])
    start = now(case)
    encode(waveforms)
    return {"seconds": now(case) - start}


@torch.inference_mode()
def _stock_pass(case: Case) -> dict[str, float]:
    from _stock import padded_features, stock_classifier, stock_feature_extractor

    waveforms, num_labels = _all_waveforms(case)
    model, extractor = stock_classifier(case, num_labels=num_labels), stock_feature_extractor(case)
    encoder = model.encoder if model.config.model_type == "whisper" else model.base_model

    def encode(some: list[Any]) -> None:
        for start in range(0, len(some), BATCH_SIZE):
            batch = padded_features(extractor, some[start : start + BATCH_SIZE])
            with torch.autocast("cpu", torch.bfloat16, enabled=case["precision"] == "bf16"):
                encoder(**batch, output_hidden_states=True)

    encode(waveforms[:4])
    start = now(case)
    encode(waveforms)
    return {"seconds": now(case) - start}


def main(argv: list[str] | None = None) -> None:
    """Measure all cases and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=["openai/whisper-tiny"])
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--stock-epochs", type=int, default=2, help="epochs of the stock way to measure")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print_json(measured(measure, arguments.measure))
        return
    num_clips = arguments.num_clips or (12 if arguments.quick else None)
    cases = [
        {
            "backbone": backbone,
            "precision": precision,
            "way": way,
            "num_clips": num_clips,
            "stock_epochs": arguments.stock_epochs,
        }
        for backbone in arguments.backbones
        for precision in arguments.precisions
        for way in WAYS
    ]
    results = run(cases, measure, script=__file__, arguments=arguments)
    report([("", _table(results))], results, arguments=arguments, script=__file__)


def _table(results: list[Result]) -> str:
    rows = []
    for result in results:
        same = [one for one in results if all(one[key] == result[key] for key in ("backbone", "precision"))]
        by_way = {one["way"]: one for one in same}
        seconds = f"{result['seconds']:.1f}"
        if "epoch_seconds" in result:
            seconds += f" (an epoch {result['epoch_seconds']:.1f})"
        rows.append(
            [
                result["backbone"].partition("/")[2],
                result["precision"],
                WAYS[result["way"]],
                seconds,
                "1" if result["way"] == "nvv" else ratio_in_words(by_way["nvv"], result),
                "1" if result["way"] == "nvv pass" else ratio_in_words(by_way["nvv pass"], result),
                f"{result['peak_mib']:.0f}",
            ]
        )
    headings = (
        *("backbone", "precision", "way", "seconds for 50 epochs, or of the pass", "× nvv's probe"),
        *("× bare masked pass", "peak memory, MiB"),
    )
    return markdown_table(headings, rows, num_text_columns=3)


if __name__ == "__main__":
    main()
