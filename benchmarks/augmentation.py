"""Augmentation, milliseconds of one processor a clip: each transform, the example recipe, and its share of an epoch.

    python benchmarks/augmentation.py --data-dir RAW/nonverbal_vocalization --json augmentation.json

Each transform is applied to every decoded clip (at most 7 s) at the example recipe's values or its defaults. The
recipe's share of an epoch is its time over that and a training step's (forward and backward, batches of like length) of
Whisper-tiny's encoder with random weights at its true size. Everything in one process on one thread, in processor time,
each pass after a warm-up; the times of clips that a transform left out count, too. Without `--data-dir` the clips are
synthetic: `--quick` takes a few of them and a tiny encoder, to try the script out.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from _side_by_side import MAX_SECONDS, backbone_config, clips_of
from transformers import Wav2Vec2FeatureExtractor

from nvv import NvvForAudioClassification
from nvv.data.augmentation import TRANSFORMS, Augmentation, codecs_available
from nvv.training.collator import ClipCollator
from nvv.training.tuning import TuningArguments, apply_tuning

RECIPE = Path(__file__).parents[1] / "recipes" / "base" / "augmented.yaml"
BACKBONE = "openai/whisper-tiny"
BATCH_SIZE = 16


def settings_by_name() -> dict[str, dict]:
    """Return what is measured: every transform by itself, codecs one by one, and the recipe."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["augment"]
    alone = {name: {name: {**(recipe.get(name) or {}), "probability": 1}} for name in TRANSFORMS if name != "coded"}
    codecs = {f"coded, {codec}": {"coded": {"probability": 1, "codec": codec}} for codec in codecs_available()}
    return {**alone, **codecs, "the recipe": recipe}


def clip_times(augmentation: Augmentation, clips: list[np.ndarray], *, passes: int) -> list[float]:
    """Return the milliseconds of each clip in each pass after a warm-up."""
    times = []
    for number in range(passes + 1):
        for index, clip in enumerate(clips):
            generator = np.random.default_rng((number, index))
            start = time.process_time()
            augmentation(clip, generator=generator, others=clips)
            if number:
                times.append(1_000 * (time.process_time() - start))
    return times


def step_time(method: str, clips: list[np.ndarray], *, quick: bool) -> float:
    """Return the milliseconds a clip of forward and backward passes."""
    config = backbone_config(BACKBONE, quick=quick)
    model = NvvForAudioClassification.from_backbone(
        BACKBONE, random_init=True, backbone_config=config, num_labels=6, max_seconds=MAX_SECONDS
    )
    model = apply_tuning(model, TuningArguments(method=method)).train()
    collate = ClipCollator(Wav2Vec2FeatureExtractor(do_normalize=False))
    clips = sorted(clips, key=len)
    start = time.process_time()
    for at in range(0, len(clips), BATCH_SIZE):
        batch = collate([{"input_values": clip, "labels": 0} for clip in clips[at : at + BATCH_SIZE]])
        model(**batch).loss.backward()
    return 1_000 * (time.process_time() - start) / len(clips)


def main(command: list[str] | None = None) -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=None, help="the corpus as released; none: synthetic clips")
    parser.add_argument("--num-clips", type=int, default=160, help="clips, at even distances by length")
    parser.add_argument("--passes", type=int, default=3, help="passes over the clips after the warm-up")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument("--quick", action="store_true", help="try the script out; no true figures")
    arguments = parser.parse_args(command)
    torch.set_num_threads(1)
    num_clips = 6 if arguments.quick else arguments.num_clips
    passes = 1 if arguments.quick else arguments.passes
    case = {"data_dir": arguments.data_dir and str(arguments.data_dir), "data_cache_dir": None}
    dataset = clips_of(case, "all", num_clips=num_clips)
    clips = [dataset.from_start(index) for index in range(len(dataset))]
    figures = {}
    print(f"{len(clips)} clips, mean {np.mean([len(clip) for clip in clips]) / 16_000:.2f} s\n")
    print("| transform | ms a clip, median | mean |\n| --- | ---: | ---: |")
    for name, settings in settings_by_name().items():
        times = clip_times(Augmentation(settings), clips, passes=passes)
        figures[name] = {"median_ms": statistics.median(times), "mean_ms": statistics.mean(times)}
        print(f"| {name} | {figures[name]['median_ms']:.2f} | {figures[name]['mean_ms']:.2f} |")
    recipe = figures["the recipe"]["mean_ms"]
    print(f"\n| {BACKBONE}, method | ms a clip of a training step | the recipe's share of an epoch |")
    print("| --- | ---: | ---: |")
    for method in ("frozen", "lora"):
        step = step_time(method, clips, quick=arguments.quick)
        figures[method] = {"step_ms": step, "share": recipe / (recipe + step)}
        print(f"| {method} | {step:.1f} | {figures[method]['share']:.1%} |")
    if arguments.quick:
        print("\nA trial on a few clips: the figures mean nothing.")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
