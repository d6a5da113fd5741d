"""LoRA training in clips a second: `NvvTrainer` against the stock model with the same LoRA, padded to 7 s.

    python benchmarks/training.py --data-dir RAW/nonverbal_vocalization --json training.json

Both sides train rank-8 updates of the two feed-forward linears of every layer and the head, in batches of 16 with 2
accumulation steps, for one epoch over the same training clips after one batch to warm up; evaluation and checkpoints
are off. Ours groups clips by length and masks padding; the stock side is transformers' classifier and `Trainer` with
PEFT's LoRA, its feature extractor pads each clip to 7 s. Decoded clips are kept in memory on both sides. Weights are
random. Every measurement runs in a process of its own, in turn; medians are printed.
"""

import tempfile
from typing import Any

from _side_by_side import (
    BATCH_SIZE,
    Case,
    Result,
    clips_of,
    make_parser,
    markdown_table,
    measured,
    nvv_classifier,
    print_json,
    ratio_in_words,
    report,
    run,
    train_timed,
)

BACKBONES = ("openai/whisper-tiny", "facebook/wav2vec2-base")
NUM_CLIPS = {"openai/whisper-tiny": 320, "facebook/wav2vec2-base": 48}
RANK = 8
FEED_FORWARD = {"whisper": ["fc1", "fc2"], "wav2vec2": ["intermediate_dense", "output_dense"]}
WAYS = {"nvv": "nvv", "stock": "stock, padded to 7 s"}


def measure(case: Case) -> dict[str, float]:
    """Train one epoch; return seconds and clips a second."""
    clips = clips_of(case, "train", num_clips=case["num_clips"], random_crops=True, memory_mebibytes=1024)
    clips.check_audio()
    with tempfile.TemporaryDirectory() as folder:
        trainer = (_nvv_trainer if case["way"] == "nvv" else _stock_trainer)(case, clips, folder)
        _warm_up(trainer)
        seconds = train_timed(trainer, case)
    return {"seconds": seconds, "clips_per_second": len(clips) / seconds}


def _warm_up(trainer: Any) -> None:
    """Run one batch forwards and backwards, so that nothing is measured that happens once."""
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    with trainer.compute_loss_context_manager():
        trainer.compute_loss(trainer.model, batch).backward()
    trainer.model.zero_grad()


def _options(case: Case, folder: str) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "num_train_epochs": 1,
        "per_device_train_batch_size": BATCH_SIZE,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-4,
        "weight_decay": 0.01,
        "bf16": case["precision"] == "bf16",
        "use_cpu": True,
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


def _nvv_trainer(case: Case, clips: Any, folder: str) -> Any:
    from nvv.training.arguments import NvvTrainingArguments
    from nvv.training.trainer import NvvTrainer
    from nvv.training.tuning import TuningArguments, apply_tuning

    model, feature_extractor = nvv_classifier(case, num_labels=len(clips.label_names))
    model = apply_tuning(model, TuningArguments(method="lora", lora_rank=RANK), num_training_steps=100)
    arguments = NvvTrainingArguments(**_options(case, folder), load_best_model_at_end=False)
    return NvvTrainer(model, arguments, feature_extractor=feature_extractor, train_dataset=clips)


def _stock_trainer(case: Case, clips: Any, folder: str) -> Any:
    from _stock import PaddedCollator, stock_classifier, stock_feature_extractor
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments

    model = stock_classifier(case, num_labels=len(clips.label_names))
    lora = LoraConfig(
        r=RANK,
        lora_alpha=1,
        target_modules=FEED_FORWARD[model.config.model_type],
        modules_to_save=["projector", "classifier"],
    )
    model = get_peft_model(model, lora)
    model.base_model.model.layer_weights.requires_grad_(True)  # a bare parameter, which PEFT leaves out
    return Trainer(
        model,
        TrainingArguments(**_options(case, folder)),
        data_collator=PaddedCollator(stock_feature_extractor(case)),
        train_dataset=clips,
    )


def main(argv: list[str] | None = None) -> None:
    """Measure all cases and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print_json(measured(measure, arguments.measure))
        return
    cases = [
        {
            "backbone": backbone,
            "precision": precision,
            "way": way,
            "num_clips": arguments.num_clips or (24 if arguments.quick else NUM_CLIPS[backbone]),
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
        key = ("backbone", "precision")
        ours = next(one for one in results if one["way"] == "nvv" and all(one[k] == result[k] for k in key))
        rows.append(
            [
                result["backbone"].partition("/")[2],
                result["precision"],
                WAYS[result["way"]],
                str(result["num_clips"]),
                f"{result['clips_per_second']:.2f}",
                "1" if result is ours else ratio_in_words(result, ours, "clips_per_second"),
                f"{result['peak_mib']:.0f}",
            ]
        )
    headings = ("backbone", "precision", "way", "clips", "clips a second", "nvv is faster by", "peak memory, MiB")
    return markdown_table(headings, rows, num_text_columns=3)


if __name__ == "__main__":
    main()
