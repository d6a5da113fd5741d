"""A finished run's folder as a push sees it: whether it is one, which of its files go to the Hub, which name clips.

Sending them is the neighbour `push`'s. Own work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..configuration_nvv import NvvConfig
from ..data import corpus_facts, list_corpora
from .licences import copy_terms

__all__ = [
    "RunFolderError",
    "files_to_push",
    "is_own_file",
    "names_clips",
    "read_finished_run",
    "why_clips_are_private",
]

# Folders and files of a run that are of use to nobody else: checkpoints, event files of trackers, unfinished files.
_NOT_PUSHED = re.compile(
    r"checkpoint-\d+|runs|logs|__pycache__|global_step\d+|.*\.tmp|.*\.lock|events\.out\.tfevents\..*"
)

_WEIGHTS = r"(model|pytorch_model|adapter_model)(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
# What runs write, and a later push of another run may therefore remove.
_OWN = re.compile(
    rf"{_WEIGHTS}|config\.json|adapter_config\.json|preprocessor_config\.json|\w+_nvv\.py|metrics\.json|probe\.json|"
    r"config_resolved\.yaml|quickstart\.png|"
    r"predictions(_.+)?\.csv|(confusion_matrix|regression)(_.+)?\.png|layer_weights\.png|layer_scores\.(png|csv|md)"
)
_NAMING_CLIPS = re.compile(r"(.*/)?((predictions|detections)(_.+)?\.(csv|parquet)|(\w+_)?embeddings\.parquet)")


class RunFolderError(ValueError):
    """A folder that is no finished run; the message says what it is instead, as far as that shows."""


def read_finished_run(folder: Path) -> Mapping[str, Any]:
    """Require that a folder holds a finished run with its model.

    Args:
        folder: the run's folder.

    Returns:
        The content of its `metrics.json`.

    Raises:
        RunFolderError: saying what is missing, and what to do.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such folder. Expected the folder of a finished run (recipes/train.py).")
    if re.fullmatch(r"checkpoint-\d+", folder.resolve().name) and (folder / "trainer_state.json").is_file():
        raise RunFolderError(f"{folder}: a checkpoint of a run. Push the run's folder, {folder.resolve().parent}.")
    if not (folder / "config.json").is_file():
        raise RunFolderError(f"{folder}: no finished run, for it has no config.json. {_what_it_is(folder)}")
    config = _read_json(folder / "config.json")
    if config.get("model_type") != NvvConfig.model_type:
        raise RunFolderError(
            f"{folder / 'config.json'}: model_type: expected {NvvConfig.model_type!r}, found "
            f"{config.get('model_type')!r}. Models of other kinds are uploaded by hf upload."
        )
    if not any(re.fullmatch(_WEIGHTS, path.name) for path in folder.iterdir()):
        raise RunFolderError(f"{folder}: no weights (model.safetensors or adapter_model.safetensors). Train again.")
    if not (folder / "metrics.json").is_file():
        raise RunFolderError(
            f"{folder}: no finished run, for it has no metrics.json, of which the card is made. {_what_it_is(folder)}"
        )
    return _read_json(folder / "metrics.json")


def _what_it_is(folder: Path) -> str:
    """Say what a folder seems to be, and what to do with it."""
    if any(folder.glob("checkpoint-*")):
        return "It has checkpoints: go on with the run (--resume_from_checkpoint last), then push it."
    if any(folder.glob("data/*.parquet")):
        return "It holds a dataset: nvv push-dataset uploads it."
    reports = ("metrics.json", "operating_point.json", "embedding_scores.json", "report.md", "baselines.md")
    if any((folder / name).is_file() for name in reports):
        return "It holds a report: the recipe that wrote it uploads it with --push_to_hub true."
    return "Expected what recipes/train.py or recipes/probe.py wrote."


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{path}: not readable as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise RunFolderError(f"{path}: expected an object, found {type(content).__name__}.")
    return content


def files_to_push(folder: Path) -> dict[str, Path]:
    """List what of a folder goes to the Hub: no checkpoints, caches, hidden, partial or temporary files.

    Args:
        folder: of a run or a report.

    Returns:
        Local file by path in the folder.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or _NOT_PUSHED.fullmatch(part) for part in parts):
            found["/".join(parts)] = path
    return found


def is_own_file(path: str) -> bool:
    """Say whether a file in a model's repository is one that runs write, and a push may remove."""
    return _OWN.fullmatch(path) is not None


def names_clips(path: str) -> bool:
    """Say whether a file names the recordings of the corpus, one by one."""
    return _NAMING_CLIPS.fullmatch(path) is not None


def why_clips_are_private(corpora: Iterable[Mapping[str, Any]]) -> str | None:
    """Say why what is known of single recordings may not be public, if it may not.

    Args:
        corpora: facts of each corpus, as `metrics.json` has them: `name`, and of data that is none of this package's
            also `licence`.

    Returns:
        One or two sentences; None where every corpus may be handed on in public.
    """
    for corpus in corpora:
        name, licence = str(corpus.get("name") or ""), corpus.get("licence")
        title, forbidden = corpus.get("pretty_name") or name or "the corpus", corpus.get("no_public_copies") or ""
        if name in list_corpora():
            # The loading script is the authority, not a file that can be edited.
            facts = corpus_facts(name)
            title, licence, forbidden = facts.pretty_name, facts.licence, facts.no_public_copies
        terms = copy_terms(licence)
        if forbidden or not terms.may_be_public:
            return f"{title} may not be made public: {forbidden or terms.reason}"
    return None
