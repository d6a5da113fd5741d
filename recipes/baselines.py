"""Score the baselines that a reviewer asks for: acoustic features with linear classifiers, and guessing.

    python recipes/baselines.py --corpus nonverbal_vocalization --data_dir PATH_TO/nonverbal_vocalization

MFCC statistics, eGeMAPSv02 and ComParE_2016 with logistic regression and a linear SVM, the clip's duration alone, the
majority class and a random guess, by the same splits, scores and files as training; the table is `baselines.md`. Any
number of YAML files, then any options; every option is listed by `--help`. `--pool_folds true` tests each clip of the
corpus once, by ten models. The features of openSMILE need `pip install nvv[baselines]`.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.baselines import BaselineArguments, run_baselines
from nvv.data import CorpusError
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_groups


def main() -> None:
    """Read the arguments, run the baselines, and show the table."""
    try:
        data, baseline = parse_groups(sys.argv[1:], (DataArguments, BaselineArguments), program="recipes/baselines.py")
        results = run_baselines(data, baseline)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    output_dir = next(iter(results.values())).output_dir.parent
    print((output_dir / "baselines.md").read_text(encoding="utf-8"))
    print(f"Tables, and a folder with metrics, predictions and confusion matrix for each baseline: {output_dir}")


if __name__ == "__main__":
    main()
