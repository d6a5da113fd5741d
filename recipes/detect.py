"""Make a detector of one label of a classifier: choose its threshold on validation, report it on test, store it.

    python recipes/detect.py --model runs/laughter --label laughing --wanted_precision 0.9 \
        --corpus nonverbal_vocalization --data_dir PATH_TO/nonverbal_vocalization

Fits a temperature (--calibrate), tabulates every threshold, takes one by a rule (--wanted_precision, --wanted_recall,
--max_false_positives, or the best F1), draws precision over recall, ROC and reliability, and stores temperature and
threshold in the model's config.json: there plain transformers applies them when asked. A classifier of any number of
classes will do, one label against the rest; recipes/nonverbal_vocalization/laughter.yaml trains one of two.
--push_to_hub true uploads the model with its operating points, and the report below evaluations/, in one commit. YAML
files come first, options override them; `--help` lists all of them.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.hub.push import PushError
from nvv.hub.push_arguments import ModelPushArguments, PushArgumentsError
from nvv.hub.push_report import check_model, push_asked_model
from nvv.inference.detect_arguments import DetectArguments
from nvv.inference.operating_points import PROGRAM, choose_operating_point, default_output_dir
from nvv.metrics.thresholds import ThresholdError
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_groups
from nvv.training.results import ResultsError


def main() -> None:
    """Read the arguments, choose, and say what came out and where everything is."""
    try:
        arguments, data, push = parse_groups(
            sys.argv[1:],
            (DetectArguments, DataArguments, ModelPushArguments),
            program=PROGRAM,
            default_output_dir=default_output_dir,
        )
        check_model(push, arguments.model, is_stored=arguments.store_in_model)
        result = choose_operating_point(arguments, data)
    except (
        ArgumentsError,
        AudioError,
        CorpusError,
        FileNotFoundError,
        PushArgumentsError,
        ResultsError,
        ThresholdError,
    ) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing was stored in the model.")
    report = result.report
    print(f"{report['label']}: threshold {report['threshold']} ({report['rule']} on validation)")
    print(f"temperature: {report['calibration']['temperature']:.4g}")
    for split, results in report["splits"].items():
        row = results["operating_point"]
        scores = [
            f"{name} {'undefined' if row[name] is None else format(row[name], '.3f')}"
            for name in ("accuracy", "precision", "recall", "f1")
        ]
        counts = f"{row['false_positives']} false positives, {row['false_negatives']} false negatives"
        print(f"{split}: {', '.join(scores)}; {counts} of {results['num_clips']} clips")
        errors = report["calibration"]["splits"][split]["label"]["equal_width"]
        print(f"{split} expected calibration error: {errors['before']:.3f} before, {errors['after']:.3f} after")
    if report["model"]["random_init"]:
        print("The model's encoder has random weights: these scores are no result.")
    print(f"tables, plots and report: {result.output_dir}")
    if result.stored_in is not None:
        print(f"stored in {result.stored_in / 'config.json'}")
    try:
        pushed = push_asked_model(result.stored_in, push, report=result.output_dir)
    except (PushError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if pushed is not None:
        print(*pushed.notices, f"uploaded: {pushed.url}, commit {pushed.commit[:12]}", sep="\n")


if __name__ == "__main__":
    main()
