"""The linear probe: a frozen backbone's features, computed once, and heads that train on them in seconds.

It leaves what a training run leaves, and what each hidden state knows beside it. The steps are other modules': `steps`,
`features`, `probe_layers`, `probe_results`, `probe_plots`; here stands their order. Own work.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import Wav2Vec2FeatureExtractor

from ..hub.model_card import write_model_card
from ..hub.repository import save_repository
from ..modeling_nvv import NvvForAudioClassification
from .checkpoints import OutputFolderError, prepare_output_folder
from .config_files import RESOLVED_CONFIG_NAME, RunArguments, resolved_config, write_resolved_config
from .corpus import RunCorpus
from .dataset import ClipDataset
from .features import compute_features, default_features_dir
from .plots import CONFUSION_MATRIX_FILE, LAYER_WEIGHTS_FILE, write_confusion_matrix, write_layer_weights
from .probe_arguments import ProbeArguments, check_probe
from .probe_heads import selection_metric
from .probe_layers import Probed, train_probes
from .probe_plots import LAYER_SCORES_FILE, write_layer_scores
from .probe_results import LAYER_SCORES_TABLE, PROBE_FILE, build_report, read_report, write_layer_table, write_report
from .push import push_run
from .results import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    SplitPredictions,
    build_metrics,
    read_metrics,
    write_metrics,
    write_predictions,
)
from .run import RunResult
from .steps import (
    EVALUATION_SPLITS,
    build_model,
    hub_dataset_id,
    load_clips,
    run_facts,
    seed_everything,
    set_cpu_threads,
)
from .trainable import trainable_parameters
from .tuning import apply_tuning

PROGRAM = "recipes/probe.py"

_OWN_FILES = (PROBE_FILE, LAYER_SCORES_TABLE, LAYER_SCORES_FILE)


@dataclass(frozen=True, kw_only=True)
class ProbeResult(RunResult):
    """What a probe ended with.

    Args:
        output_dir: as in `RunResult`.
        metrics: the content of `metrics.json`: the run's own head of the first seed.
        log_history: that head's losses and validation scores over epochs; empty in all processes but the main one.
        report: the content of `probe.json`.
    """

    report: Mapping[str, Any]


def probe(arguments: RunArguments, probe_arguments: ProbeArguments) -> ProbeResult:
    """Probe a frozen backbone, and write everything to `output_dir`.

    Runs in every process of a distributed launch: all compute features, the main one trains heads and writes. What
    comes out does not depend on how many there are. With one seed, one weight decay and no single layers it is
    `train` with method `frozen`, up to rounding, where no training clip is longer than `max_seconds`: such clips are
    heard from their start in every epoch, where training live crops at random.

    Args:
        arguments: the four groups of a run; method `frozen`.
        probe_arguments: seeds, weight decays, layers and the cache.

    Returns:
        Scores and where everything is.

    Raises:
        ValueError: for arguments that do not fit a probe, each other, the corpus or the backbone; an output folder that
            holds another run (`OutputFolderError`); clips that cannot be decoded (`AudioError`).
        PushError: if the upload failed; the folder is complete then.

    Example:
        >>> arguments = parse_arguments(["--method", "frozen", "--output_dir", "runs/probe"])  # doctest: +SKIP
        >>> probe(arguments, ProbeArguments()).report["best_layer"]  # doctest: +SKIP
        3
    """
    started = time.monotonic()
    check_probe(arguments, probe_arguments)
    training = arguments.training
    output_dir = Path(training.output_dir)
    _open_output_folder(arguments, probe_arguments)
    set_cpu_threads(training)
    seed_everything(training)
    corpus, clips = load_clips(arguments.data, training=training, model=arguments.model, random_crops=False)
    model, feature_extractor = build_model(arguments.model, clips["train"], training=training)
    model = apply_tuning(model, arguments.tuning)
    accelerator = Accelerator(cpu=training.use_cpu)
    begun = time.monotonic()
    features = compute_features(
        model,
        feature_extractor,
        clips,
        cache_dir=_cache_dir(probe_arguments),
        accelerator=accelerator,
        bf16=training.bf16,
        max_batch_seconds=probe_arguments.max_batch_seconds,
        num_workers=training.dataloader_num_workers or None,
        disable_tqdm=training.disable_tqdm,
    )
    timing = {"features_s": time.monotonic() - begun}
    log_history: list[dict[str, float]] = []
    if training.process_index == 0:
        begun = time.monotonic()
        probes = train_probes(model, features, clips, training=training, probe_arguments=probe_arguments)
        timing |= {"heads_s": time.monotonic() - begun, "training_s": time.monotonic() - started}
        first = probes[0].chosen[0].trained
        log_history = first.history
        model.head.load_state_dict(first.head.state_dict())
        metrics, predictions = _results(
            probes[0], model, corpus=corpus, clips=clips, arguments=arguments, probe_arguments=probe_arguments,
            timing=timing,
        )  # fmt: skip
        report = build_report(
            probes,
            metrics,
            clips=clips,
            features={
                "num_clips": features.num_clips,
                "num_computed": features.num_computed,
                "num_cached": features.num_clips - features.num_computed,
            },
            timing={**timing, "total_s": time.monotonic() - started},
            selection_metric=selection_metric(training),
            greater_is_better=training.greater_is_better,
            num_resamples=training.num_bootstrap_resamples,
        )
        write_resolved_config((*arguments, probe_arguments), output_dir / RESOLVED_CONFIG_NAME, program=PROGRAM)
        _write(
            output_dir, model=model, feature_extractor=feature_extractor, metrics=metrics, predictions=predictions,
            report=report,
        )  # fmt: skip
    accelerator.wait_for_everyone()
    if training.process_index == 0 and training.push_to_hub:
        push_run(output_dir, training=training, dataset_id=hub_dataset_id(arguments.data))
    return ProbeResult(
        output_dir=output_dir,
        metrics=read_metrics(output_dir / METRICS_FILE),
        log_history=log_history,
        report=read_report(output_dir / PROBE_FILE),
    )


def _cache_dir(probe_arguments: ProbeArguments) -> Path:
    folder = probe_arguments.features_cache_dir
    return default_features_dir() if folder is None else Path(folder).expanduser()


def _open_output_folder(arguments: RunArguments, probe_arguments: ProbeArguments) -> None:
    """Make the probe's folder, or refuse it: a probe of the same settings may be in it, no other run."""
    training = arguments.training
    folder = Path(training.output_dir)
    with training.main_process_first(local=False, desc="opening the output folder"):
        if training.process_index != 0:
            return
        is_finished = (folder / METRICS_FILE).is_file() and (folder / RESOLVED_CONFIG_NAME).is_file()
        replaces = is_finished and not training.overwrite_output_dir
        try:
            prepare_output_folder(
                folder,
                resolved_config((*arguments, probe_arguments)),
                config_name=RESOLVED_CONFIG_NAME,
                resume=replaces,
                overwrite=training.overwrite_output_dir,
            )
        except OutputFolderError as error:
            hint = "A probe replaces its own results only; --overwrite_output_dir true replaces any other run's."
            raise OutputFolderError(f"{error} {hint}") from error
        if not replaces:
            for name in _OWN_FILES:
                (folder / name).unlink(missing_ok=True)


def _results(
    probed: Probed,
    model: NvvForAudioClassification,
    *,
    corpus: RunCorpus,
    clips: Mapping[str, ClipDataset],
    arguments: RunArguments,
    probe_arguments: ProbeArguments,
    timing: Mapping[str, float],
) -> tuple[dict[str, Any], list[SplitPredictions]]:
    """Make the content of `metrics.json` and `predictions.csv` of the first seed's head."""
    training, head = arguments.training, probed.chosen[0]
    predictions = [
        SplitPredictions.from_logits(
            split,
            head.logits[split],
            files=clips[split].files,
            references=clips[split].labels,
            speaker_ids=clips[split].speaker_ids,
        )
        for split in EVALUATION_SPLITS
    ]
    facts = run_facts(
        {**arguments._asdict(), "probe": probe_arguments},
        corpus=corpus,
        model=model,
        counts=trainable_parameters(model),
        training=training,
        method=arguments.tuning.method,
        tuned_layers=arguments.tuning.tuned_layers,
        best_step=head.trained.best_step,
        best_epoch=head.trained.best_epoch,
        best_validation_score=head.trained.best_score,
        timing=timing,
    )
    metrics = build_metrics(
        predictions, facts, label_names=clips["train"].label_names, num_resamples=training.num_bootstrap_resamples
    )
    return metrics, predictions


def _write(
    output_dir: Path,
    *,
    model: NvvForAudioClassification,
    feature_extractor: Wav2Vec2FeatureExtractor,
    metrics: Mapping[str, Any],
    predictions: list[SplitPredictions],
    report: Mapping[str, Any],
) -> None:
    """Write repository, results and plots; the card last, because it shows the others."""
    save_repository(model, feature_extractor, output_dir)
    write_predictions(output_dir / PREDICTIONS_FILE, predictions, label_names=metrics["labels"])
    write_confusion_matrix(output_dir / CONFUSION_MATRIX_FILE, metrics)
    if report["layer_weights"] is not None:
        write_layer_weights(
            output_dir / LAYER_WEIGHTS_FILE,
            report["layer_weights"]["by_seed"][0],
            backbone_id=metrics["backbone"]["id"],
            layers=report["layer_weights"]["hidden_states"],
            random_init=metrics["backbone"]["random_init"],
        )
    if report["layers"]:
        write_layer_scores(output_dir / LAYER_SCORES_FILE, report)
        write_layer_table(output_dir / LAYER_SCORES_TABLE, report)
    write_report(output_dir / PROBE_FILE, report)
    write_metrics(output_dir / METRICS_FILE, metrics)
    write_model_card(output_dir)
