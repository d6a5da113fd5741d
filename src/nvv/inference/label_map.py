"""From a model's labels to a corpus's: which answer counts as which class, and what becomes of the rest.

Where both have the same names, in whatever order, nothing needs to be said. Otherwise a map names the corpus's label
for every label of the model, or `null` where there is none. Reading clips and scoring answers is left to `evaluation`.
Own work.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from ..training.arguments import ArgumentsError

__all__ = [
    "OTHER",
    "UNMAPPED_ANSWERS",
    "UNMAPPED_CLIPS",
    "LabelMap",
    "LabelMapError",
    "make_label_map",
    "read_label_map",
]

OTHER = "(other)"
"""The answer that stands for all labels of the model that the corpus does not have."""
REST = "*"
"""The key of a label map that stands for all labels of the model that it does not name."""

UNMAPPED_CLIPS = ("drop", "wrong", "error")
UNMAPPED_ANSWERS = ("wrong", "renormalise")

_MAX_LISTED = 40


class LabelMapError(ArgumentsError):
    """A label map that does not fit the model or the corpus, or one that is missing."""


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """Which class of a corpus each label of a model stands for.

    Args:
        model_labels: the model's labels in the order of its logits.
        corpus_labels: the corpus's labels in their order.
        targets: for each label of the model the corpus's label, or None.
        unmapped_clips: what becomes of clips of a class that no label of the model stands for. `drop`: left out, and
            the class is not evaluated. `wrong`: kept, and every answer to them is wrong. `error`: there must be none.
        unmapped_answers: what becomes of labels that stand for no class. `wrong`: together an answer of their own,
            `(other)`, which is always wrong; it is given where one of them is more probable than every class.
            `renormalise`: the model is told that they do not occur.
    """

    model_labels: tuple[str, ...]
    corpus_labels: tuple[str, ...]
    targets: Mapping[str, str | None]
    unmapped_clips: str = "drop"
    unmapped_answers: str = "wrong"

    @property
    def is_identity(self) -> bool:
        """Whether model and corpus have the same labels."""
        return set(self.model_labels) == set(self.corpus_labels) and all(
            label == target for label, target in self.targets.items()
        )

    @property
    def unmapped_model_labels(self) -> list[str]:
        """The model's labels that stand for no class of the corpus."""
        return [label for label in self.model_labels if self.targets[label] is None]

    @property
    def unmapped_corpus_labels(self) -> list[str]:
        """The corpus's labels that no label of the model stands for."""
        reached = set(self.targets.values())
        return [label for label in self.corpus_labels if label not in reached]

    @property
    def classes(self) -> list[str]:
        """The corpus's labels that are evaluated, in the corpus's order."""
        dropped = set(self.unmapped_corpus_labels) if self.unmapped_clips == "drop" else set()
        return [label for label in self.corpus_labels if label not in dropped]

    @property
    def has_other(self) -> bool:
        """Whether one answer more is possible than there are classes."""
        return self.unmapped_answers == "wrong" and bool(self.unmapped_model_labels)

    @property
    def answers(self) -> list[str]:
        """The classes, and `(other)` at the end where an answer may be none of them."""
        return [*self.classes, OTHER] if self.has_other else self.classes

    def is_evaluated(self, references: ArrayLike) -> NDArray[np.bool_]:
        """Say which clips are evaluated.

        Args:
            references: the clips' labels, indices of the corpus's labels (clips,).

        Returns:
            Whether each clip's class is among the evaluated ones (clips,).
        """
        evaluated = np.array([label in set(self.classes) for label in self.corpus_labels])
        return evaluated[np.asarray(references)]

    def references(self, references: ArrayLike) -> NDArray[np.int64]:
        """Number the clips' classes among the evaluated ones.

        Args:
            references: indices of the corpus's labels (clips,), of evaluated classes only.

        Returns:
            Indices of `classes` (clips,).
        """
        position = {label: index for index, label in enumerate(self.classes)}
        table = np.array([position.get(label, -1) for label in self.corpus_labels], dtype=np.int64)
        return table[np.asarray(references)]

    def probabilities(self, logits: ArrayLike, *, is_multi_label: bool = False) -> NDArray[np.float64]:
        """Turn a model's logits into probabilities of the answers.

        Args:
            logits: (clips, model labels).
            is_multi_label: the model says yes or no to each label by itself, so its probabilities do not sum to 1.
                Labels of one class then do not add up either: the highest counts.

        Returns:
            (clips, answers), each row divided by its sum. Probabilities of the labels of one class are added up. Those
            of `(other)` are not, the highest counts: hundreds of labels with next to nothing each would otherwise
            outweigh a class that the model is sure of.
        """
        values = np.asarray(logits, dtype=np.float64)
        columns = self._columns()
        if not self.has_other:
            # What the corpus does not have is left out before the softmax: exact also where it had nearly everything.
            kept = np.array(sorted(index for group in columns for index in group))
            position = {index: at for at, index in enumerate(kept.tolist())}
            values, columns = values[:, kept], [[position[index] for index in group] for group in columns]
        scores = expit(values) if is_multi_label else softmax(values, axis=-1)
        joined = np.zeros((len(values), len(columns)))
        for answer, group in enumerate(columns):
            if group:
                takes_highest = is_multi_label or answer == len(self.classes)
                joined[:, answer] = scores[:, group].max(axis=1) if takes_highest else scores[:, group].sum(axis=1)
        return joined / joined.sum(axis=1, keepdims=True)

    def _columns(self) -> list[list[int]]:
        """Return the logits' columns that belong to each answer."""
        wanted = [*self.classes, *([None] if self.has_other else [])]
        return [[at for at, label in enumerate(self.model_labels) if self.targets[label] == one] for one in wanted]

    def describe(self) -> dict[str, Any]:
        """Return what results record of the map: `targets` where names were mapped, the labels left over, the rules."""
        return {
            "targets": None if self.is_identity else dict(self.targets),
            "unmapped_model_labels": self.unmapped_model_labels,
            "unmapped_answers": self.unmapped_answers if self.unmapped_model_labels else None,
            "unmapped_corpus_labels": self.unmapped_corpus_labels,
            "unmapped_clips": self.unmapped_clips if self.unmapped_corpus_labels else None,
        }


def read_label_map(source: Mapping[str, Any] | str | Path) -> dict[str, str | None]:
    """Read a label map.

    Args:
        source: a YAML file of lines `model label: corpus label` (or `null`), or such a mapping itself.

    Returns:
        The mapping as it stands there; `*` stands for all labels that are not named.

    Raises:
        LabelMapError: for a file that is not such a mapping, or names a label twice.
        FileNotFoundError: for a file that is not there.
    """
    if isinstance(source, Mapping):
        content, name = source, "label_map"
    else:
        file, name = Path(source), str(source)
        if not file.is_file():
            raise FileNotFoundError(f"label_map: {file}: no such YAML file.")
        text = file.read_text(encoding="utf-8")
        try:
            _check_named_once(yaml.compose(text, Loader=yaml.SafeLoader), name=name)
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise LabelMapError(f"{name}: not readable as YAML: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise LabelMapError(f"{name}: expected lines `model label: corpus label`, found {type(content).__name__}.")
    for label, target in content.items():
        for value, may_be_none in ((label, False), (target, True)):
            if not isinstance(value, str) and not (value is None and may_be_none):
                raise LabelMapError(
                    f"{name}: expected label names, found {value!r} ({type(value).__name__}) in `{label}: {target}`. "
                    "Put quotation marks around names that YAML reads as something else, such as 'no' or '1'."
                )
    return dict(content)


def _check_named_once(node: yaml.Node | None, *, name: str) -> None:
    """Raise where YAML would silently take the last of two lines for one label."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise LabelMapError(
                f"{name}: the label {key.value!r} is mapped twice, again in line {key.start_mark.line + 1}."
            )
        seen.add(str(key.value))


def make_label_map(
    model_labels: Sequence[str],
    corpus_labels: Sequence[str],
    *,
    mapping: Mapping[str, str | None] | None = None,
    unmapped_clips: str = "drop",
    unmapped_answers: str = "wrong",
) -> LabelMap:
    """Fit a model's labels to a corpus's.

    Args:
        model_labels: the model's labels in the order of its logits.
        corpus_labels: the corpus's labels in their order.
        mapping: what `read_label_map` gave; None where both have the same labels.
        unmapped_clips: as in `LabelMap`.
        unmapped_answers: as in `LabelMap`.

    Returns:
        The map.

    Raises:
        LabelMapError: if the labels differ and there is no mapping (the error shows the one to write), or the mapping
            names labels that are not there, leaves out one of the model's, or leaves fewer than two classes.

    Example:
        >>> make_label_map(["sigh", "laugh"], ["laugh", "sigh"]).classes
        ['laugh', 'sigh']
        >>> mapping = {"giggle": "laugh", "guffaw": "laugh", "cough": None, "sigh": "sigh"}
        >>> make_label_map(list(mapping), ["laugh", "sigh", "sob"], mapping=mapping).answers
        ['laugh', 'sigh', '(other)']
    """
    _check_choices(unmapped_clips=unmapped_clips, unmapped_answers=unmapped_answers)
    _check_distinct(model_labels)
    if mapping is None:
        if set(model_labels) != set(corpus_labels):
            raise LabelMapError(_missing_map(model_labels, corpus_labels))
        targets: dict[str, str | None] = {label: label for label in model_labels}
    else:
        targets = _resolved(mapping, model_labels=model_labels, corpus_labels=corpus_labels)
    label_map = LabelMap(
        model_labels=tuple(model_labels),
        corpus_labels=tuple(corpus_labels),
        targets=targets,
        unmapped_clips=unmapped_clips,
        unmapped_answers=unmapped_answers,
    )
    _check_outcome(label_map)
    return label_map


def _check_choices(*, unmapped_clips: str, unmapped_answers: str) -> None:
    for name, value, allowed in (
        ("unmapped_clips", unmapped_clips, UNMAPPED_CLIPS),
        ("unmapped_answers", unmapped_answers, UNMAPPED_ANSWERS),
    ):
        if value not in allowed:
            raise LabelMapError(f"{name}: expected one of {', '.join(allowed)}; found {value!r}.")


def _check_distinct(model_labels: Sequence[str]) -> None:
    twice = sorted({label for label in model_labels if list(model_labels).count(label) > 1})
    if twice:
        raise LabelMapError(
            f"model: its config names {len(twice)} labels more than once, {twice[0]!r} among them, so that its answers "
            "cannot be told apart. Correct id2label in its config.json."
        )


def _resolved(
    mapping: Mapping[str, str | None], *, model_labels: Sequence[str], corpus_labels: Sequence[str]
) -> dict[str, str | None]:
    """Return the corpus's label, or None, for every label of the model."""
    _check_known([label for label in mapping if label != REST], known=model_labels, whose="the model")
    _check_known([target for target in mapping.values() if target is not None], known=corpus_labels, whose="the corpus")
    left_out = [label for label in model_labels if label not in mapping]
    if left_out and REST not in mapping:
        raise LabelMapError(
            f"label_map: {len(left_out)} labels of the model are not in it: {_listed(left_out)}. Add a line for each, "
            f'`null` where the corpus has no such class; `"{REST}": null` stands for all of them.'
        )
    return {label: mapping[label] if label in mapping else mapping[REST] for label in model_labels}


def _check_known(labels: Sequence[str], *, known: Sequence[str], whose: str) -> None:
    unknown = [label for label in labels if label not in known]
    if not unknown:
        return
    nearest = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise LabelMapError(f"label_map: {whose} has no label {unknown[0]!r}; it has {_listed(known)}.{hint}")


def _check_outcome(label_map: LabelMap) -> None:
    """Raise where nothing is left to be told apart, or clips are left over that must not be."""
    without = label_map.unmapped_corpus_labels
    if without and label_map.unmapped_clips == "error":
        raise LabelMapError(
            f"label_map: no label of the model stands for {_listed(without)} of the corpus. Map one, or choose what "
            "becomes of these clips: --unmapped_clips drop (left out and counted) or wrong (kept, always wrong)."
        )
    if label_map.has_other and OTHER in label_map.corpus_labels:
        raise LabelMapError(
            f"unmapped_answers: the corpus has a class {OTHER!r} of its own. Map the left-over labels to it, or choose "
            "--unmapped_answers renormalise."
        )
    reached = [label for label in label_map.corpus_labels if label not in without]
    if len(reached) < 2:
        raise LabelMapError(
            "label_map: expected labels of the model for at least two classes of the corpus, which can then be told "
            f"apart; found {_listed(reached) or 'none'}. Map more of them."
        )


def _missing_map(model_labels: Sequence[str], corpus_labels: Sequence[str]) -> str:
    """Say that the labels differ, and show the map to write, filled in where names match but for their case."""
    by_folded = {label.casefold(): label for label in corpus_labels}
    lines: dict[str, str | None] = {label: by_folded.get(label.casefold()) for label in model_labels}
    if len(lines) > _MAX_LISTED:
        lines = {label: target for label, target in lines.items() if target is not None}
        lines[REST] = None
    template = yaml.safe_dump(lines, sort_keys=False, allow_unicode=True, width=10_000)
    return (
        f"label_map: the model's labels are not the corpus's.\n"
        f"  model:  {_listed(model_labels)}\n"
        f"  corpus: {_listed(corpus_labels)}\n"
        "Write which class of the corpus each label of the model stands for (several may share one, null: none), "
        "and pass the file as --label_map map.yaml:\n\n" + "".join(f"  {line}\n" for line in template.splitlines())
    )


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:_MAX_LISTED])
    return shown if len(labels) <= _MAX_LISTED else f"{shown} and {len(labels) - _MAX_LISTED} more"
