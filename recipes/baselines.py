"""Score the baselines that a reviewer asks for: acoustic features with linear classifiers, and guessing.

    python recipes/baselines.py --corpus nonverbal_vocalization --data_dir PATH_TO/nonverbal_vocalization

MFCC statistics, eGeMAPSv02 and ComParE_2016 with logistic regression and a linear SVM, the clip's duration alone, the
majority class and a random guess, by the same splits, scores and files as training; the table is `baselines.md`. Any
number of YAML files, then any options; every option is listed by `--help`. `--pool_folds true` tests each clip of the
corpus once, by ten models. `--push_to_hub true --hub_dataset_id YOU/results` uploads all of it to a dataset repository
of results, private by default, in one commit. The features of openSMILE need `pip install nvv[baselines]`.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.baselines import BaselineArguments, run_baselines
from nvv.data import CorpusError
from nvv.hub.push import PushError
from nvv.hub.push_arguments import ResultsPushArguments
from nvv.hub.push_report import push_asked_report
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_groups


def main() -> None:
    """Read the arguments, run the baselines, and show the table."""
    try:
        data, baseline, push = parse_groups(
            sys.argv[1:], (DataArguments, BaselineArguments, ResultsPushArguments), program="recipes/baselines.py"
        )
        results = run_baselines(data, baseline)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    output_dir = next(iter(results.values())).output_dir.parent
    print((output_dir / "baselines.md").read_text(encoding="utf-8"))
    print(f"Tables, and a folder with metrics, predictions and confusion matrix for each baseline: {output_dir}")
    try:
        pushed = push_asked_report(output_dir, push)
    except (PushError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if pushed is not None:
        print(f"uploaded: {pushed.url}, commit {pushed.commit[:12]}")


if __name__ == "__main__":
    main()
