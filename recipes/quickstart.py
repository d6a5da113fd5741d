"""Train a small classifier on computed sounds, look at what it learnt, and use it: a few minutes on two CPU cores.

    python recipes/quickstart.py [--output_dir runs/quickstart]

Needs no recordings, no GPU and no network. The sounds are synthesized and the encoder starts from random weights, so
the numbers show that the path works, not how well vocalizations can be told apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import WhisperConfig, pipeline

from nvv.audio import SAMPLING_RATE, decode_audio
from nvv.data import load_corpus
from nvv.training.config_files import parse_arguments
from nvv.training.plots import CONFUSION_MATRIX_FILE, LAYER_WEIGHTS_FILE, OVERVIEW_FILE, write_overview
from nvv.training.run import train

SETTINGS = {
    "random_init": "true",
    "corpus": "synthetic",
    "method": "adapter",
    "learning_rate": "5e-3",
    "num_train_epochs": "20",
    "gradient_accumulation_steps": "1",
    "save_total_limit": "1",
    "disable_tqdm": "true",
}


DEFAULT_FOLDER = Path("runs/quickstart")


def main() -> None:
    """Train, draw, and classify one clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default=DEFAULT_FOLDER, type=Path)
    parser.add_argument("--num_train_epochs", default=SETTINGS["num_train_epochs"])
    options = parser.parse_args()
    folder: Path = options.output_dir

    # 1. A speech encoder: Whisper's architecture, two layers of 256, random weights.
    backbone = folder.parent / "tiny-whisper"
    tiny_whisper().save_pretrained(backbone)

    # 2. Train adapters in it, and a head, on eight classes of computed sounds by 24 invented voices; validate
    #    and test on other voices.
    settings = SETTINGS | {"backbone": str(backbone), "num_train_epochs": options.num_train_epochs}
    arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
    if folder == DEFAULT_FOLDER:  # started again; a run of yours in another folder is never deleted
        arguments += ["--overwrite_output_dir", "true"]
    result = train(parse_arguments([*arguments, "--output_dir", str(folder)]))

    # 3. What it learnt, in numbers and in a picture.
    picture = write_overview(folder / OVERVIEW_FILE, result.metrics, result.log_history)
    test = result.metrics["splits"]["test"]
    score = test["scores"]["macro_f1"]
    print(f"\nTest macro-F1 {score['value']:.2f} (95 % interval {score['low']:.2f} to {score['high']:.2f})")
    print("Chance levels:", {name: round(scores["macro_f1"], 2) for name, scores in test["chance"].items()})
    print("The sounds are computed and the encoder was never pretrained: these numbers are no evidence about people.\n")

    # 4. Use the saved repository as anybody would, with plain transformers.
    test_clips = load_corpus("synthetic")["test"]
    waveform = decode_audio(test_clips[0]["audio"])
    classifier = pipeline("audio-classification", model=str(folder), trust_remote_code=True)
    answers = classifier({"array": waveform, "sampling_rate": SAMPLING_RATE}, top_k=3)
    print(f"{test_clips[0]['file']}, in truth {test_clips.features['label'].int2str(test_clips[0]['label'])}:")
    print("".join(f"  {answer['label']:>10}  {answer['score']:.2f}\n" for answer in answers))

    print(f"Model repository  {folder}")
    print(f"Model card        {folder / 'README.md'}")
    print(f"Picture           {picture}")
    print(f"Plots             {folder / CONFUSION_MATRIX_FILE}, {folder / LAYER_WEIGHTS_FILE}")
    print(f"All scores        {folder / 'metrics.json'}")


def tiny_whisper() -> WhisperConfig:
    """Describe an encoder small enough to run on a laptop: clips of up to 10 s, 80 mel bands."""
    return WhisperConfig(
        d_model=256,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=512,
        max_source_positions=500,
        # the decoder is not built
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=512,
    )


if __name__ == "__main__":
    main()
