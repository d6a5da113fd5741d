"""Embed a corpus with a model of nvv, and say how much of its classes is in the embeddings.

    python recipes/embeddings.py --model runs/whisper_tiny_contrastive --untuned true \
        --corpus nonverbal_vocalization --data_dir PATH_TO/nonverbal_vocalization

Scores the nearest class centroid, the nearest training clips and a linear probe, all fitted on the training clips, on
validation and test; with --untuned true the backbone's embeddings before tuning beside them. Draws all splits by UMAP
(pip install 'nvv[umap]') or t-SNE, and keeps the embeddings in embeddings.parquet. A contrastive model is trained by
recipes/train.py with recipes/contrastive/*.yaml; any other model of nvv will do, too. --push_to_hub true uploads it all
in one commit: below evaluations/ in the model's own repository, or into a dataset repository of results
(--hub_dataset_id). YAML files come first, options override them; `--help` lists all of them.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.hub.push import PushError
from nvv.hub.push_arguments import PushArgumentsError, ReportPushArguments
from nvv.hub.push_report import check_destination, push_asked_report
from nvv.inference.embedding_arguments import EmbeddingArguments
from nvv.inference.embeddings import PROGRAM, default_output_dir, score_model_embeddings
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_groups
from nvv.training.results import ResultsError


def main() -> None:
    """Read the arguments, embed and score, and say what came out and where everything is."""
    try:
        arguments, data, push = parse_groups(
            sys.argv[1:],
            (EmbeddingArguments, DataArguments, ReportPushArguments),
            program=PROGRAM,
            default_output_dir=default_output_dir,
        )
        push = check_destination(push, arguments.model)
        result = score_model_embeddings(arguments, data)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError, PushArgumentsError, ResultsError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted; nothing was written.")
    for kind, scores in result.report["embeddings"].items():
        for classifier, results in scores["splits"]["test"].items():
            if results["scores"]:
                score = results["scores"]["macro_f1"]
                interval = f"95 % interval {score['low']:.3f} to {score['high']:.3f}"
                print(f"{kind}, {classifier.replace('_', ' ')}: test macro_f1 {score['value']:.3f} ({interval})")
    for note in result.report["notes"]:
        print(note)
    print(f"embeddings.parquet, embedding_scores.md, .csv and .json, embeddings.png: {result.output_dir}")
    try:
        pushed = push_asked_report(result.output_dir, push, model=arguments.model)
    except (PushError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if pushed is not None:
        print(f"uploaded: {pushed.url}, commit {pushed.commit[:12]}")


if __name__ == "__main__":
    main()
