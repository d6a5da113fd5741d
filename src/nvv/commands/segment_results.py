"""Where `nvv segment` puts what it finds: files, rows on standard output, and scores against references. Own work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .output import results_to

if TYPE_CHECKING:
    from ..segmentation.events import Event
    from ..segmentation.segment import Segmentation

__all__ = ["Results", "note"]

_SCORES_FILE = "event_scores.json"
_NO_RESULT = "Random weights or computed sounds: these scores are no result."


class Results:
    """Takes what was found: writes files, or prints rows, and scores it.

    Args:
        paths: the recordings.
        output_dir: where files are written; None: rows are printed, where nothing is scored.
        formats: of the files.
        window_scores: whether JSON holds every window's.
        reference: a file of true events.
        collar_s: of the scores; None: the usual one.

    Raises:
        ArgumentsError: for options without effect, references of other recordings, or files that would be replaced by
            what is written.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        output_dir: Path | None,
        formats: tuple[str, ...],
        window_scores: bool,
        reference: Path | None,
        collar_s: float | None,
    ) -> None:
        from ..segmentation.recordings import match_references, output_places
        from ..training.arguments import ArgumentsError

        if reference is None and collar_s is not None:
            raise ArgumentsError("collar_seconds: has no effect without --reference; leave it out.")
        if collar_s is not None and not 0 < collar_s < float("inf"):
            raise ArgumentsError(f"collar_seconds: expected more than 0, found {collar_s}.")
        if output_dir is not None and output_dir.exists() and not output_dir.is_dir():
            raise ArgumentsError(f"output_dir: expected a folder, found the file {output_dir}.")
        self._output_dir, self._formats, self._window_scores = output_dir, formats, window_scores
        self._collar_s = 0.2 if collar_s is None else collar_s
        self._places = output_places(paths)
        self._references: dict[Path, Sequence[Event]] | None = None
        self._found: dict[Path, Segmentation] = {}
        self._has_header = False
        self._num_recordings = len(paths)
        if reference is not None:
            from ..segmentation.formats import read_events

            self._references = match_references(paths, read_events(reference))
            self._check_keeps(reference)

    def envelope(self) -> Any:
        """Return what is to listen to the next recording; None for nothing."""
        if "picture" not in self._formats:
            return None
        from ..segmentation.timeline import WaveformEnvelope

        return WaveformEnvelope()

    def take(self, path: Path, segmentation: Segmentation, *, envelope: Any) -> None:
        """Write or print what was found in one recording."""
        from ..segmentation.formats import to_csv, write_events

        if self._output_dir is not None:
            folder, stem = self._places[path]
            options = {} if envelope is None else {"envelope": envelope}
            written = write_events(
                segmentation,
                self._output_dir / folder,
                stem,
                self._formats,
                with_scores=self._window_scores,
                **options,
            )
            typer.echo(f"{path}: {_counted(segmentation)} → {', '.join(map(str, written))}", err=True)
        elif self._references is None:
            with results_to(None) as write:
                write(to_csv(segmentation, header=not self._has_header))
            self._has_header = True
        if self._references is not None and path in self._references:
            self._found[path] = segmentation

    def finish(self, labels: tuple[str, ...]) -> None:
        """Score what was found of these labels, where there are references."""
        if self._references is None:
            return
        from ..files import write_text
        from ..segmentation.event_scores import event_scores, scores_table

        if len(self._found) < self._num_recordings:
            note(
                f"{len(self._found)} of {self._num_recordings} recordings were read and have references; the "
                "scores are theirs."
            )
        if not self._found:
            return
        references = {str(path): self._references[path] for path in self._found}
        other = sorted({event.label for events in references.values() for event in events} - set(labels))
        if other:
            note(f"references of {', '.join(other)} are not scored: the model does not look for them.")
        scores = event_scores(
            {file: [event for event in events if event.label in labels] for file, events in references.items()},
            {str(path): segmentation.events for path, segmentation in self._found.items()},
            collar_s=self._collar_s,
            labels=labels,
            durations={str(path): segmentation.duration_s for path, segmentation in self._found.items()},
        )
        # Where they go, the tables say that they are no result.
        trained = {segmentation.model_is_trained for segmentation in self._found.values()}
        scores["model_is_trained"] = False if False in trained else None if None in trained else True
        notes = [] if scores["model_is_trained"] is not False else [_NO_RESULT]
        with results_to(None) as write:
            write(scores_table(scores, notes=notes) + "\n")
        if self._output_dir is not None:
            path = self._output_dir / _SCORES_FILE
            write_text(path, json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def _check_keeps(self, reference: Path) -> None:
        """Refuse to replace the references by what was found."""
        from ..segmentation.formats import FORMATS
        from ..training.arguments import ArgumentsError

        if self._output_dir is None:
            return
        for folder, stem in self._places.values():
            for name in self._formats:
                written = self._output_dir / folder / f"{stem}{FORMATS[name]}"
                if written.exists() and written.samefile(reference):
                    raise ArgumentsError(
                        f"output_dir: {written} would replace the references; choose another folder or format."
                    )


def _counted(segmentation: Segmentation) -> str:
    """Say how many events of which label there are."""
    number = len(segmentation.events)
    each = [
        f"{label} {count}"
        for label in segmentation.labels
        if (count := sum(event.label == label for event in segmentation.events))
    ]
    return f"{number} event{'' if number == 1 else 's'}" + (f" ({', '.join(each)})" if each else "")


def note(text: str) -> None:
    """Tell whoever runs the command something, on standard error."""
    typer.echo(f"nvv segment: note: {text}", err=True)
