"""Evaluate a model on any corpus, and write the scores, answers and plots that training writes.

    python recipes/evaluate.py --model runs/whisper_tiny_lora_012 --corpus nonverbal_vocalization \
        --data_dir PATH_TO/nonverbal_vocalization --split_protocol stratified --robustness --by sex,age_band

The model is a run's folder, a checkpoint in one (runs/x/checkpoint-120), or any folder or Hub id with a classifier of
this package or of transformers, or a model of this package that predicts numbers or several things at once. Where its
labels are not the corpus's, the error shows the label map to write; targets are matched to columns by their names.
--robustness scores the model under noise, babble, reverberation, narrow bands and lossy coding too, --by groups of
clips. --push_to_hub true uploads the results in one commit: below evaluations/ in the model's own repository, or into a
dataset repository of results (--hub_dataset_id). YAML files come first, options override them; `--help` lists all.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.hub.push import PushError
from nvv.hub.push_arguments import PushArgumentsError, ReportPushArguments
from nvv.hub.push_report import check_destination, push_asked_report
from nvv.inference import EvaluateArguments, evaluate
from nvv.inference.evaluation import default_output_dir, shown_score_names
from nvv.inference.evaluation_folder import PROGRAM
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_groups
from nvv.training.results import ResultsError


def main() -> None:
    """Read the arguments, evaluate, and say what came out and where everything is."""
    try:
        arguments, data, push = parse_groups(
            sys.argv[1:],
            (EvaluateArguments, DataArguments, ReportPushArguments),
            program=PROGRAM,
            default_output_dir=default_output_dir,
        )
        push = check_destination(push, arguments.model)
        result = evaluate(arguments, data)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError, PushArgumentsError, ResultsError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing was written but what --robustness has finished: the same command goes on.")
    for split, results in result.metrics["splits"].items():
        for name in shown_score_names(result.metrics, split):
            score = results["scores"][name]
            print(f"{split} {name}: {score['value']:.3f} (95 % interval {score['low']:.3f} to {score['high']:.3f})")
        left_out = sum(result.metrics["evaluation"]["left_out"][split].values())
        print(f"{split}: {results['num_clips']} clips, {left_out} left out")
    if result.metrics["backbone"]["random_init"]:
        print("The model's encoder has random weights: these scores are no result.")
    if result.metrics["corpus"].get("is_synthetic"):
        print("The sounds are computed: these scores say nothing about people's voices.")
    for report in result.reports:
        print(f"{report.name}: {result.output_dir / report}")
    print(f"metrics.json, predictions and plots: {result.output_dir}")
    try:
        pushed = push_asked_report(result.output_dir, push, model=arguments.model)
    except (PushError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if pushed is not None:
        print(f"uploaded: {pushed.url}, commit {pushed.commit[:12]}")


if __name__ == "__main__":
    main()
