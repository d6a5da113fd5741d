"""`nvv classify`: say what recordings are of. Own work."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

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
from .output import progress_only_on_terminals, results_to

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..inference.answer_tables import AnswerFormat, Detection, FileAnswer
    from ..inference.load import Classifier
    from ..inference.readings import OutputGroup
    from ..inference.streams import Answer, Sound

__all__ = ["EXAMPLE", "classify"]

EXAMPLE = "nvv classify nvv/whisper-tiny-lora-vivae recordings/ --format csv --output answers.csv"

_STANDARD_INPUT = _STANDARD_OUTPUT = "-"
_FORMATS = ("table", "jsonl", "csv")  # those of nvv.inference.answer_tables, which is imported only when this runs


def classify(
    model: ModelArgument,
    sources: SourcesArgument = None,
    files_from: Annotated[
        str | None, typer.Option(metavar="LIST", help="File with paths, one a line; - reads them from standard input.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Labels to show, 0 for all; by default 3, and those with a score of at least 0.5 of a model that says "
            "yes or no to each label.",
        ),
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Also say yes or no to this label, at its stored threshold.")
    ] = None,
    table_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            callback=one_of(*_FORMATS),
            help="table, jsonl or csv; by default what --output ends in, else a table.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write, which appears when it is complete; by default standard output.")
    ] = None,
    batch_seconds: BatchSecondsOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Recordings in a batch at most.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "float32",
    num_workers: NumWorkersOption = None,
    revision: RevisionOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Say what recordings are of: files, folders, patterns, a list, or - for one recording on standard input.

    Answers come in the order of the recordings, each as soon as it is there. JSON lines have an object for each
    recording: file, labels [{label, score}] or numbers {name: number}, or tasks {name: …} of a model with several. CSV
    has a row for each label: file, rank, label, score, error (and task, detected), which pandas pivots:
    read_csv(…).pivot(index="file", columns="label", values="score") after --top-k 0. Recordings that cannot be read are
    reported on standard error and have an error there; the exit status is then 1.
    """
    from ..inference.answer_tables import answer_format
    from ..inference.device import compute_device
    from ..inference.load import load_classifier
    from ..inference.readings import output_groups, why_no_result
    from ..inference.streams import compute_stream, heard_seconds, ready_classifier
    from ..training.arguments import ArgumentsError

    progress_only_on_terminals()
    output = None if output == Path(_STANDARD_OUTPUT) else output
    with explained("classify", status=2):
        form = _form(table_format, output)
        recordings, files = _recordings(sources or [], files_from)
        classifier = ready_classifier(
            load_classifier(model, revision=revision, trust_remote_code=trust_remote_code, allows_tasks=True),
            dtype=dtype,
            device=compute_device(device),
        )
        detect = None if operating_point is None else _detector(classifier, operating_point)
        for reason in why_no_result(classifier):
            typer.echo(f"nvv classify: note: {reason}", err=True)
        groups = output_groups(classifier)
        if top_k is not None and all(group.kind == "numbers" for group in groups):
            raise ArgumentsError("top_k: the model predicts numbers, which are all shown; leave it out.")
        seconds, longer = heard_seconds(classifier), _Count()
        rows = compute_stream(
            classifier,
            _sounds(recordings, max_seconds=seconds, on_longer=longer),
            max_batch_seconds=batch_seconds,
            max_batch_sounds=batch_size,
            num_workers=num_workers,
        )
        answers = _answers(rows, groups, top_k=top_k, detect=detect)
        shape = answer_format(form, groups, detects=detect is not None, files=list(map(str, files or ())))
        num_answers, num_errors = _write(answers, shape, output=output, total=None if files is None else len(files))
    if longer.number:
        typer.echo(
            f"nvv classify: note: the model hears the first {seconds:g} s of a recording; {longer.number} of "
            f"{num_answers} are longer (nvv segment goes through all of a recording).",
            err=True,
        )
    if num_answers == 0:
        typer.echo("nvv classify: no recordings: the list of --files-from is empty.", err=True)
        raise typer.Exit(2)
    if num_errors:
        typer.echo(f"nvv classify: {num_errors} of {num_answers} recordings have no answer.", err=True)
        raise typer.Exit(1)


# ----------------------------------------------------------------------------------------------------------------------
# What is asked for
# ----------------------------------------------------------------------------------------------------------------------


def _form(name: str | None, output: Path | None) -> str:
    """Return the form of the answers."""
    from ..training.arguments import ArgumentsError

    if output is not None and output.is_dir():
        raise ArgumentsError(f"output: expected a file, found the folder {output}.")
    if name is not None:
        return name
    ending = "" if output is None else output.suffix.lower().removeprefix(".")
    return ending if ending in _FORMATS else _FORMATS[0]


def _recordings(
    sources: Sequence[str], files_from: str | None
) -> tuple[Iterable[Path | str | None], Sequence[Path | str] | None]:
    """Return the recordings, and their names where they are known beforehand.

    `-` is the one on standard input; None says that the next one is not listed yet.
    """
    from ..inference.audio_sources import audio_files, files_as_listed
    from ..training.arguments import ArgumentsError

    if (files_from is None) == (not sources):
        found = "neither" if files_from is None else "both"
        raise ArgumentsError(f"sources: expected recordings as arguments or a list by --files-from, found {found}.")
    if files_from == _STANDARD_INPUT:
        return files_as_listed(sys.stdin.buffer), None
    if files_from is not None:
        path = Path(files_from).expanduser()
        if path.is_dir() or not path.exists():  # and not `is_file`, which <(find …) is not
            raise ArgumentsError(f"files_from: expected a file with paths, one a line; {files_from} is none.")
        return _lines_of(path.open("rb")), None
    if _STANDARD_INPUT not in sources:
        files = audio_files(sources)
        return files, files
    if len(sources) > 1:
        raise ArgumentsError("sources: - is one recording on standard input, and goes with no other source.")
    return [_STANDARD_INPUT], [_STANDARD_INPUT]


def _lines_of(stream: BinaryIO) -> Iterator[Path]:
    from ..inference.audio_sources import listed_files

    with stream:
        yield from listed_files(stream)


def _sounds(
    recordings: Iterable[Path | str | None], *, max_seconds: float | None, on_longer: Callable[[Any], None]
) -> Iterator[Sound | None]:
    """Make sounds of what `_recordings` gave."""
    from ..inference.audio_sources import file_sound, stream_sound

    for recording in recordings:
        if recording is None:
            yield None
        elif isinstance(recording, Path):
            yield file_sound(recording, max_seconds=max_seconds, on_longer=on_longer)
        else:
            yield stream_sound(sys.stdin.buffer, key=recording, max_seconds=max_seconds, on_longer=on_longer)


def _detector(classifier: Classifier, label: str) -> Callable[[NDArray[np.float32]], Detection]:
    """Return what says of a row of logits whether it is of a label, by the label's stored threshold."""
    import torch

    from ..decisions_nvv import detected, detection_scores
    from ..inference.answer_tables import Detection
    from ..inference.readings import give_calibrated_scores, thresholds_of
    from ..training.arguments import ArgumentsError

    give_calibrated_scores(classifier)
    thresholds = thresholds_of(classifier)
    if label not in thresholds:
        raise ArgumentsError(
            f"operating_point: the model stores no threshold for {label!r}; it has some for: "
            f"{', '.join(thresholds) or 'none'}. recipes/detect.py chooses and stores them."
        )
    config = classifier.model.config

    def detect(row: NDArray[np.float32]) -> Detection:
        logits = torch.from_numpy(row[None])
        return Detection(
            label=label,
            score=float(detection_scores(logits, config, label)),
            threshold=thresholds[label],
            detected=bool(detected(logits, config, label)),
        )

    return detect


# ----------------------------------------------------------------------------------------------------------------------
# Answers
# ----------------------------------------------------------------------------------------------------------------------


class _Count:
    """Counts its calls, from any thread."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = threading.Lock()

    def __call__(self, _: Any) -> None:
        with self._lock:
            self.number += 1


def _answers(
    rows: Iterator[Answer],
    groups: Sequence[OutputGroup],
    *,
    top_k: int | None,
    detect: Callable[[NDArray[np.float32]], Detection] | None,
) -> Iterator[FileAnswer]:
    """Read what the model makes of each recording."""
    import numpy as np

    from ..audio import AudioError
    from ..inference.answer_tables import FileAnswer, read_answer
    from ..inference.readings import scores_of

    with closing(rows):
        for key, row in rows:
            file = str(key)
            if isinstance(row, AudioError):
                yield FileAnswer(file=file, error=" ".join(str(row).removeprefix(f"{file}: ").split()))
            elif not np.isfinite(row).all():
                yield FileAnswer(file=file, error="the model's scores are not finite; try --dtype float32.")
            else:
                yield FileAnswer(
                    file=file,
                    groups=read_answer(groups, scores_of(groups, row), top_k=top_k),
                    detection=None if detect is None else detect(row),
                )


def _write(
    answers: Iterator[FileAnswer], shape: AnswerFormat, *, output: Path | None, total: int | None
) -> tuple[int, int]:
    """Write answers as they come, and what is wrong with a recording to standard error; return how many of each."""
    from tqdm.auto import tqdm

    num_answers = num_errors = 0
    # Where answers are seen on a terminal, they are the progress.
    hides_progress = True if output is None and sys.stdout.isatty() else None
    with (
        closing(answers),
        results_to(output) as write,
        tqdm(total=total, desc="Classifying", unit="file", leave=False, disable=hides_progress) as progress,
    ):
        if shape.header:
            write(shape.header)
        for answer in answers:
            num_answers += 1
            if answer.error is not None:
                num_errors += 1
                with progress.external_write_mode(file=sys.stderr):
                    typer.echo(f"nvv classify: {answer.file}: {answer.error}", err=True)
            write(shape.text(answer))
            progress.update()
    return num_answers, num_errors
