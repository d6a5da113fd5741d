"""Train a classifier of vocalizations and write a model repository with results, plots and card.

    accelerate launch recipes/train.py recipes/nonverbal_vocalization/whisper_tiny_lora_012.yaml \
        --data_dir PATH_TO/nonverbal_vocalization --output_dir runs/whisper_tiny_lora_012

Any number of YAML files, then any options: later files override earlier ones, options override files. Every option is
listed by `--help`, and every rule is in `nvv.training`. Without a network, add `--random_init true`. A killed run goes
on with the same command and `--resume_from_checkpoint last`.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import parse_arguments
from nvv.training.push import PushError
from nvv.training.run import train

_SHOWN_SCORES = ("mean_score", "ccc", "mae", "macro_f1", "uar", "accuracy")


def main() -> None:
    """Read the arguments, train, and say where everything is."""
    try:
        arguments = parse_arguments(sys.argv[1:])
        result = train(arguments)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError, PushError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    if arguments.training.process_index == 0:
        scores = result.metrics["splits"]["test"]["scores"]
        for name in [name for name in scores if name.endswith(_SHOWN_SCORES)]:
            score = scores[name]
            print(f"test {name}: {score['value']:.3f} (95 % interval {score['low']:.3f} to {score['high']:.3f})")
        if not scores:
            print("test: no references, so no scores; the answers are in predictions.csv")
        print(f"Model repository, card, metrics.json, predictions.csv and plots: {result.output_dir}")


if __name__ == "__main__":
    main()
