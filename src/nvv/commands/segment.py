"""`nvv segment`: find events in recordings of any length. Own work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import explained
from .model_options import (
    BatchSecondsOption,
    DeviceOption,
    DtypeOption,
    ModelArgument,
    NumWorkersOption,
    RevisionOption,
    SourcesArgument,
    TrustOption,
    one_of,
)
from .output import progress_only_on_terminals
from .segment_results import Results, note

if TYPE_CHECKING:
    from ..inference.load import Classifier
    from ..segmentation.settings import SegmentationSettings

__all__ = ["EXAMPLE", "segment"]

EXAMPLE = (
    "nvv segment nvv/whisper-tiny-lora-vivae interview.flac --threshold 0.6 --threshold laughing=0.8\n"
    "  nvv segment nvv/whisper-tiny-lora-vivae recordings/ --output-dir events --format json,textgrid,picture"
)

# Those of nvv.segmentation, which is imported only when this runs.
_FORMATS = ("json", "csv", "audacity", "textgrid", "rttm", "picture")
_SMOOTHINGS = ("median", "mean", "none")
_DEFAULT_FORMATS = "json,csv"


def segment(
    model: ModelArgument,
    sources: SourcesArgument = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for a file of each format a recording; by default events are printed as CSV."),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAMES",
            help=f"{', '.join(_FORMATS)} or all, commas between; by default {_DEFAULT_FORMATS}. With --output-dir.",
        ),
    ] = None,
    window_scores: Annotated[
        bool, typer.Option("--window-scores", help="Also put the scores of every window into the JSON.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="True events, in any of the formats but pictures, or with DCASE's columns: print how well they were "
            "found, event by event and second by second."
        ),
    ] = None,
    collar_seconds: Annotated[
        float | None,
        typer.Option(
            help="How far an event's start, and end, may be from the true one; by default 0.2. With --reference."
        ),
    ] = None,
    window_seconds: Annotated[
        float | None,
        typer.Option(help="What the model hears at a time; by default 1, or less where the model hears less."),
    ] = None,
    hop_seconds: Annotated[
        float | None, typer.Option(help="From one window to the next; by default a quarter of a window.")
    ] = None,
    smoothing: Annotated[
        str,
        typer.Option(callback=one_of(*_SMOOTHINGS), help="Of scores over windows: median, mean or none."),
    ] = "median",
    smoothing_seconds: Annotated[
        float | None, typer.Option(help="Over how much scores are smoothed; by default three hops.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORE|LABEL=SCORE",
            help="Score from which an event is believed, of all labels or of one; may be repeated. By default the "
            "operating points in the model's config, and 0.5.",
        ),
    ] = None,
    release_threshold: Annotated[
        float | None,
        typer.Option(help="Score down to which an event goes on; by default four fifths of its threshold."),
    ] = None,
    min_event_seconds: Annotated[float, typer.Option(help="Shorter events are dropped.")] = 0.1,
    max_gap_seconds: Annotated[
        float, typer.Option(help="Events of one label that are no further apart are joined.")
    ] = 0.2,
    refine_ends: Annotated[
        bool, typer.Option(help="Move the ends of events to where their sound begins and stops.")
    ] = True,
    overlapping: Annotated[
        bool, typer.Option("--overlapping", help="Let events of classes overlap among which the model chooses.")
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option(help="Look for this label only; may be repeated. By default all but background.")
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(
            help="Label that stands for the rest and makes no events; may be repeated. By default those called other, "
            "background, noise, silence, speech and the like."
        ),
    ] = None,
    silence_dbfs: Annotated[
        str | None,
        typer.Option(
            metavar="DB|off", help="Windows of a lower level are not looked at, in dB below full scale; by default -90."
        ),
    ] = None,
    batch_seconds: BatchSecondsOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    num_workers: NumWorkersOption = None,
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Find events in recordings of any length, in constant memory: start, end, label and score of each.

    The model hears overlapping windows; their scores are smoothed, compared with thresholds, and joined to events.
    Recordings that cannot be read are reported on standard error, and the exit status is then 1; the files of those
    that are finished are complete. With --reference and no --output-dir the scores are printed, and no events.
    """
    from ..inference.audio_sources import audio_files
    from ..inference.device import compute_device
    from ..inference.load import load_classifier
    from ..inference.readings import give_calibrated_scores, why_no_result
    from ..inference.streams import ready_classifier
    from ..segmentation.plan import caveats_of, plan_segmentation
    from ..segmentation.settings import SegmentationSettings

    progress_only_on_terminals()
    with explained("segment", status=2, after_interrupt="finished recordings are complete"):
        settings = SegmentationSettings(
            window_seconds=window_seconds,
            hop_seconds=hop_seconds,
            smoothing=smoothing,
            smoothing_seconds=smoothing_seconds,
            **_thresholds(threshold or []),
            release_threshold=release_threshold,
            min_event_seconds=min_event_seconds,
            max_gap_seconds=max_gap_seconds,
            refine_ends=refine_ends,
            overlapping=overlapping,
            labels=None if label is None else tuple(label),
            background=None if background is None else tuple(background),
            **_silence(silence_dbfs),
        )
        paths = audio_files(_named(sources))
        results = Results(
            paths,
            output_dir=output_dir,
            formats=_formats(formats, output_dir=output_dir, window_scores=window_scores),
            window_scores=window_scores,
            reference=reference,
            collar_s=collar_seconds,
        )
        classifier = ready_classifier(
            load_classifier(model, revision=revision, trust_remote_code=trust_remote_code, allows_tasks=True),
            dtype=dtype,
            device=compute_device(device),
        )
        give_calibrated_scores(classifier)
        labels = plan_segmentation(classifier, settings).labels
        for caveat in [*why_no_result(classifier), *caveats_of(classifier, settings)]:
            note(caveat)
        num_failed = _segment_all(
            paths, classifier, settings, results, batch_seconds=batch_seconds, num_workers=num_workers
        )
        results.finish(labels)
    if num_failed:
        typer.echo(f"nvv segment: {num_failed} of {len(paths)} recordings could not be read.", err=True)
        raise typer.Exit(1)


def _segment_all(
    paths: Sequence[Path],
    classifier: Classifier,
    settings: SegmentationSettings,
    results: Results,
    *,
    batch_seconds: float | None,
    num_workers: int | None,
) -> int:
    """Segment one recording after another; return how many could not be read."""
    from ..audio import AudioError
    from ..segmentation.segment import segment_file

    num_failed = 0
    for path in paths:
        envelope = results.envelope()
        try:
            segmentation = segment_file(
                classifier,
                path,
                settings=settings,
                max_batch_seconds=batch_seconds,
                num_workers=num_workers,
                listen=None if envelope is None else envelope.add,
                show_progress=None,
            )
        except (AudioError, OSError) as error:
            num_failed += 1
            typer.echo(f"nvv segment: {' '.join(str(error).split())}", err=True)
            continue
        results.take(path, segmentation, envelope=envelope)
    return num_failed


def _named(sources: Sequence[str] | None) -> Sequence[str]:
    from ..training.arguments import ArgumentsError

    if not sources:
        raise ArgumentsError("sources: expected recordings: files, folders or quoted patterns; found none.")
    return sources


def _formats(names: str | None, *, output_dir: Path | None, window_scores: bool) -> tuple[str, ...]:
    """Return the formats to write."""
    from ..training.arguments import ArgumentsError

    if output_dir is None:
        given = [f"--{name}" for name, value in (("format", names), ("window-scores", window_scores)) if value]
        if given:
            raise ArgumentsError(
                f"{given[0]}: has an effect with --output-dir only; without, events are printed as CSV."
            )
        return ()
    chosen = tuple(name.strip() for name in (names or _DEFAULT_FORMATS).split(","))
    if chosen == ("all",):
        return _FORMATS
    unknown = [name for name in chosen if name not in _FORMATS]
    if unknown:
        raise ArgumentsError(f"format: expected some of {', '.join(_FORMATS)}, or all; found {unknown[0]!r}.")
    if window_scores and "json" not in chosen:
        raise ArgumentsError("window_scores: has no effect without the format json; leave it out.")
    return chosen


def _thresholds(given: Sequence[str]) -> dict[str, Any]:
    """Read `0.5` and `LABEL=0.7`."""
    from ..training.arguments import ArgumentsError

    for_all: list[float] = []
    of_label: dict[str, float] = {}
    for text in given:
        label, is_named, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ArgumentsError(f"threshold: expected a score or LABEL=SCORE, found {text!r}.") from None
        if not is_named:
            for_all.append(value)
        elif label in of_label:
            raise ArgumentsError(f"threshold: {label!r} has two, {of_label[label]:g} and {value:g}; choose one.")
        else:
            of_label[label] = value
    if len(for_all) > 1:
        raise ArgumentsError(f"threshold: {for_all[0]:g} and {for_all[1]:g} are both for all labels; choose one.")
    return {"threshold": for_all[0] if for_all else None, "thresholds": of_label}


def _silence(text: str | None) -> dict[str, Any]:
    """Read a level or `off`."""
    from ..training.arguments import ArgumentsError

    if text is None:
        return {}
    if text == "off":
        return {"silence_dbfs": None}
    try:
        return {"silence_dbfs": float(text)}
    except ValueError:
        raise ArgumentsError(f"silence_dbfs: expected a level in dB such as -60, or off; found {text!r}.") from None
