"""Baselines from arguments to results: clips, features, classifiers, and for each baseline what a training run writes.

Each baseline has a folder of its own with `metrics.json`, `predictions.csv` and `confusion_matrix.png` in the format of
`nvv.training`, and `baseline.json` with what is particular to it; the neighbour `table` puts them side by side. Own
work.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data import list_corpora, manifest_digest
from ..files import write_text
from ..training.arguments import (
    AUGMENTATION_FIELDS,
    TASK_FIELDS,
    ArgumentsError,
    DataArguments,
    refuse_fields,
)
from ..training.checkpoints import OutputFolderError
from ..training.config_files import RESOLVED_CONFIG_NAME, resolved_config, write_resolved_config
from ..training.corpus import RunCorpus, fold_protocols, load_run_corpus
from ..training.dataset import ClipDataset
from ..training.plots import CONFUSION_MATRIX_FILE, write_confusion_matrix
from ..training.results import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    RunFacts,
    SplitPredictions,
    build_metrics,
    to_plain,
    write_metrics,
    write_predictions,
)
from ..training.run import RunResult
from ..training.steps import EVALUATION_SPLITS, blaming, make_clips
from .arguments import CLASSIFIERS, FEATURES, GUESSING, LEARNING, BaselineArguments
from .classifiers import FittedClassifier, LabelledFeatures, fit_classifier, fit_guess
from .features import FeatureExtractor, compute_features, feature_extractor
from .table import TABLE_FILES, write_table

__all__ = ["BASELINE_FILE", "POOLED_FOLDS", "baseline_name", "run_baseline", "run_baselines"]

BASELINE_FILE = "baseline.json"
POOLED_FOLDS = "pooled_folds"
_PROGRAM = "recipes/baselines.py"


@dataclass(frozen=True, kw_only=True)
class _Round:
    """One division of the corpus: the only one, or one fold.

    Args:
        clips: `train`, `validation` and `test`.
        features: their features (clips, features) by split; (clips, 0) where none are needed.
    """

    clips: Mapping[str, ClipDataset]
    features: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class _Recordings:
    """What all baselines of a run share: the corpus, and its clips in one or several divisions."""

    corpus: RunCorpus
    rounds: Sequence[Mapping[str, ClipDataset]]


def baseline_name(features: str | None, classifier: str) -> str:
    """Return the name of a baseline's folder and of its row in the table.

    Example:
        >>> baseline_name("mfcc", "linear_svm"), baseline_name(None, "majority")
        ('mfcc_linear_svm', 'majority')
    """
    return classifier if features is None else f"{features}_{classifier}"


def run_baselines(data: DataArguments, baseline: BaselineArguments) -> dict[str, RunResult]:
    """Run the baselines asked for on one corpus, and write each one's results and the table of all.

    Features are computed once for all classifiers and folds.

    Args:
        data: which recordings, and how they are divided.
        baseline: which baselines, and where they go.

    Returns:
        The results by `baseline_name`, as they stand in the table: best test score first.

    Raises:
        ValueError: for arguments that do not fit each other or the corpus; a folder that holds finished baselines
            (`OutputFolderError`); clips that cannot be decoded (`AudioError`).

    Example:
        >>> run_baselines(DataArguments(), BaselineArguments(features=["mfcc"]))  # doctest: +SKIP
    """
    extractors = _extractors(features for features, _ in baseline.pairs)
    recordings = _load(data, baseline)
    name = Path(str(recordings.corpus.facts["name"])).name
    output_dir = Path(baseline.output_dir or f"runs/baselines_{name}_{recordings.corpus.protocol}")
    _open_folder(output_dir, overwrite=baseline.overwrite_output_dir)
    results: dict[str, RunResult] = {}
    for features, extractor in extractors.items():
        rounds, seconds = _with_features(recordings, extractor, baseline=baseline)
        for classifier in (classifier for asked, classifier in baseline.pairs if asked == features):
            name = baseline_name(features, classifier)
            results[name] = _run_one(
                data,
                dataclasses.replace(
                    baseline, features=None if features is None else [features], classifiers=[classifier]
                ),
                corpus=recordings.corpus,
                rounds=rounds,
                extractor=extractor,
                output_dir=output_dir / name,
                timing={"features_s": seconds},
            )
    write_resolved_config([data, baseline], output_dir / RESOLVED_CONFIG_NAME, program=_PROGRAM)
    order = write_table(
        output_dir, {name: result.metrics for name, result in results.items()}, metric=baseline.metric_for_best_model
    )
    return {name: results[name] for name in order}


def run_baseline(
    data: DataArguments,
    *,
    features: str | None,
    classifier: str,
    output_dir: Path,
    seed: int = 42,
    settings: BaselineArguments | None = None,
) -> RunResult:
    """Run one baseline and write its results to `output_dir` itself; files of an earlier run there are replaced.

    Args:
        data: which recordings, and how they are divided.
        features: one of `FEATURES`; None, or `none`, for a guess.
        classifier: one of `CLASSIFIERS`.
        output_dir: the folder for the results.
        seed: of random guesses and of the SVM's solver.
        settings: everything else; None: the defaults. Its features, classifiers, seed and folder do not count.

    Returns:
        Scores and where everything is.

    Raises:
        ValueError: as `run_baselines`.
    """
    features = None if features == "none" else features
    if classifier not in CLASSIFIERS or (features is None) != (classifier in GUESSING):
        raise ArgumentsError(
            f"features, classifier: expected none with {' or '.join(GUESSING)}, or one of {', '.join(FEATURES)} with "
            f"{' or '.join(LEARNING)}; found {features or 'none'} with {classifier!r}."
        )
    baseline = dataclasses.replace(
        settings or BaselineArguments(),
        features=None if features is None else [features],
        classifiers=[classifier],
        seed=seed,
    )
    extractor = _extractors([features])[features]
    recordings = _load(data, baseline)
    rounds, seconds = _with_features(recordings, extractor, baseline=baseline)
    return _run_one(
        data,
        baseline,
        corpus=recordings.corpus,
        rounds=rounds,
        extractor=extractor,
        output_dir=Path(output_dir),
        timing={"features_s": seconds},
    )


def _extractors(names: Iterable[str | None]) -> dict[str | None, FeatureExtractor | None]:
    """Make the extractors first: what is not installed is said before anything is loaded or written."""
    return {name: None if name is None else feature_extractor(name) for name in dict.fromkeys(names)}


def _load(data: DataArguments, baseline: BaselineArguments) -> _Recordings:
    """Load the corpus, once for each fold if folds are to be pooled."""
    refuse_fields(
        data,
        (*TASK_FIELDS, *AUGMENTATION_FIELDS),
        reason="is not for baselines, which learn classes from features computed once; leave it out.",
    )
    with blaming("corpus", hint=f"The raw corpora are {', '.join(list_corpora())}; others come from the Hub."):
        if not baseline.pool_folds:
            corpus = load_run_corpus(data)
            return _Recordings(corpus=corpus, rounds=[_clips(corpus, data=data, baseline=baseline)])
        if data.split_protocol is not None:
            raise ArgumentsError(
                f"split_protocol: expected none with pool_folds, which takes all folds; found {data.split_protocol!r}."
            )
        folds = [
            load_run_corpus(dataclasses.replace(data, split_protocol=protocol)) for protocol in fold_protocols(data)
        ]
        rounds = [_clips(fold, data=data, baseline=baseline) for fold in folds]
    part_of = {file: f"fold_{fold}" for fold, clips in enumerate(rounds) for file in clips["test"].files}
    facts = {
        **folds[0].facts,
        "manifest_digest": manifest_digest(part_of),
        "protocol_note": (
            f"{len(folds)} models, one for each of the protocols {folds[0].protocol} to {folds[-1].protocol}; their "
            "answers are scored together, so that each clip is tested once, by a model that neither trained nor chose "
            "its settings on it."
        ),
    }
    return _Recordings(corpus=dataclasses.replace(folds[0], protocol=POOLED_FOLDS, facts=facts), rounds=rounds)


def _clips(corpus: RunCorpus, *, data: DataArguments, baseline: BaselineArguments) -> dict[str, ClipDataset]:
    # Without random crops: a clip has one set of features.
    return make_clips(corpus, data=data, max_seconds=baseline.max_seconds, seed=baseline.seed, random_crops=False)


def _with_features(
    recordings: _Recordings, extractor: FeatureExtractor | None, *, baseline: BaselineArguments
) -> tuple[list[_Round], float]:
    """Describe all clips; return the divisions with their features, and the seconds it took."""
    started = time.monotonic()
    parts = [part for clips in recordings.rounds for part in clips.values()]
    if extractor is None:
        features = [np.empty((len(part), 0), dtype=np.float32) for part in parts]
    else:
        cache_dir = baseline.features_cache_dir
        features = compute_features(
            parts,
            extractor,
            cache_dir=None if cache_dir is None else Path(cache_dir).expanduser(),
            num_workers=baseline.num_workers,
        )
    found = iter(features)
    rounds = [_Round(clips=clips, features={split: next(found) for split in clips}) for clips in recordings.rounds]
    return rounds, time.monotonic() - started


def _run_one(
    data: DataArguments,
    baseline: BaselineArguments,
    *,
    corpus: RunCorpus,
    rounds: Sequence[_Round],
    extractor: FeatureExtractor | None,
    output_dir: Path,
    timing: Mapping[str, float],
) -> RunResult:
    """Fit one classifier in every division, score all answers, and write the results; the metrics last."""
    started = time.monotonic()
    fitted, predictions = _answers(rounds, baseline=baseline)
    label_names = rounds[0].clips["train"].label_names
    [classifier] = baseline.classifiers
    scores = [dict(part.validation_scores).get(part.c_value) for part in fitted]
    everything = resolved_config([data, baseline])
    facts = RunFacts(
        corpus=corpus.facts,
        corpus_config=corpus.protocol,
        backbone_id=None if extractor is None else extractor.name,
        random_init=False,
        method=classifier,
        total_parameters=fitted[0].num_parameters,
        trainable_parameters=fitted[0].num_parameters,
        seed=baseline.seed,
        device="cpu",
        config={
            name: {field: everything[field] for field in vars(group) if field in everything}
            for name, group in (("data", data), ("baseline", baseline))
        },
        best_validation_score=scores[0] if len(scores) == 1 else None,
        selection_metric=baseline.metric_for_best_model,
        timing={**timing, "training_s": time.monotonic() - started},
    )
    metrics = build_metrics(predictions, facts, label_names=label_names, num_resamples=baseline.num_bootstrap_resamples)
    write_predictions(output_dir / PREDICTIONS_FILE, predictions, label_names=label_names)
    write_confusion_matrix(output_dir / CONFUSION_MATRIX_FILE, metrics)
    _write_baseline(output_dir / BASELINE_FILE, fitted, extractor=extractor, classifier=classifier)
    write_metrics(output_dir / METRICS_FILE, metrics)
    return RunResult(output_dir=output_dir, metrics=metrics, log_history=[])


def _answers(
    rounds: Sequence[_Round], *, baseline: BaselineArguments
) -> tuple[list[FittedClassifier], list[SplitPredictions]]:
    """Fit in every division, and put the answers of all of them together by split."""
    [classifier] = baseline.classifiers
    generator = np.random.default_rng(baseline.seed)
    num_labels = len(rounds[0].clips["train"].label_names)
    fitted: list[FittedClassifier] = []
    for part in rounds:
        train, validation = (
            LabelledFeatures(features=part.features[split], labels=part.clips[split].labels)
            for split in ("train", "validation")
        )
        if classifier in GUESSING:
            fitted.append(fit_guess(classifier, train.labels, num_labels=num_labels, generator=generator))
        else:
            fitted.append(
                fit_classifier(
                    classifier,
                    train,
                    validation,
                    num_labels=num_labels,
                    c_values=baseline.c_values,
                    metric=baseline.metric_for_best_model,
                    class_balanced=baseline.class_balanced_loss,
                    seed=baseline.seed,
                )
            )
    return fitted, [_pooled(rounds, fitted, split=split) for split in EVALUATION_SPLITS]


def _pooled(rounds: Sequence[_Round], fitted: Sequence[FittedClassifier], *, split: str) -> SplitPredictions:
    """Answer one split of every division; clips go in the order of the divisions."""
    clips = [part.clips[split] for part in rounds]
    speakers = None if any(part.speaker_ids is None for part in clips) else [part.speaker_ids for part in clips]
    return SplitPredictions(
        split=split,
        files=[file for part in clips for file in part.files],
        references=np.concatenate([part.labels for part in clips]),
        probabilities=np.concatenate(
            [model.probabilities(part.features[split]) for part, model in zip(rounds, fitted, strict=True)]
        ),
        speaker_ids=None if speakers is None else [speaker for part in speakers for speaker in part],
    )


def _write_baseline(
    path: Path, fitted: Sequence[FittedClassifier], *, extractor: FeatureExtractor | None, classifier: str
) -> None:
    """Write what is particular to a baseline: its features, and in each division how its regularization was chosen."""
    content = {
        "features": None
        if extractor is None
        else {"name": extractor.name, "num_features": len(extractor.names), "settings": dict(extractor.settings)},
        "classifier": classifier,
        "fits": [
            {
                "c_value": part.c_value,
                "validation_scores": [
                    {"c_value": c_value, "score": score} for c_value, score in part.validation_scores
                ],
                "converged": part.converged,
                "num_parameters": part.num_parameters,
            }
            for part in fitted
        ],
    }
    write_text(path, json.dumps(to_plain(content, name=path.name), indent=2) + "\n")


def _open_folder(output_dir: Path, *, overwrite: bool) -> None:
    """Refuse a folder with finished baselines unless they are to be replaced; take away what an earlier run left."""
    if any((output_dir / name).is_file() for name in TABLE_FILES) and not overwrite:
        raise OutputFolderError(
            f"output_dir: {output_dir} holds finished baselines. Choose another folder, or replace them "
            "(--overwrite_output_dir true)."
        )
    files = [output_dir / name for name in (*TABLE_FILES, RESOLVED_CONFIG_NAME)]
    for features, classifier in BaselineArguments().pairs:
        folder = output_dir / baseline_name(features, classifier)
        # The metrics go first: without them, a folder is no run.
        files += [folder / name for name in (METRICS_FILE, PREDICTIONS_FILE, CONFUSION_MATRIX_FILE, BASELINE_FILE)]
    for file in files:
        file.unlink(missing_ok=True)
    for folder in {file.parent for file in files} - {output_dir}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
