"""What a model heard before its evaluation: clips and speakers of the corpus it was trained on.

A run records its corpus, split protocol and the split's digest. Where the evaluated corpus is the same one, its clips
are looked up in the split that the model was trained on; with another protocol some of today's test clips were
yesterday's training clips, and a score of them says nothing about new recordings. What the run's folder says is read in
the neighbour `model_facts`. Own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..audio import AudioError
from ..data import CorpusError
from ..training.arguments import ArgumentsError, DataArguments
from ..training.corpus import RunCorpus, load_run_corpus
from .model_facts import ModelFacts

__all__ = ["training_corpus_of", "what_was_seen"]


def training_corpus_of(facts: ModelFacts) -> dict[str, str | None] | None:
    """Return what is known of the corpus that a model was trained on.

    Args:
        facts: the model's.

    Returns:
        `name`, `config` (the split protocol) and `manifest_digest` (of the split), the last two None where unknown;
        None where nothing is known.
    """
    if facts.metrics is not None:
        corpus = facts.metrics["corpus"]
        return {name: corpus.get(name) for name in ("name", "config", "manifest_digest")}
    if facts.config is not None and facts.config.get("corpus"):
        # A run that has not ended. A prepared corpus is named by its folder.
        name = Path(facts.config["corpus"]).name
        return {"name": name, "config": facts.config.get("split_protocol"), "manifest_digest": None}
    return None


def what_was_seen(
    facts: ModelFacts, *, corpus: RunCorpus, data: DataArguments, clips: Mapping[str, Dataset]
) -> tuple[dict[str, Any], list[str]]:
    """Compare the evaluated clips with those that the model was trained on.

    Args:
        facts: the model's.
        corpus: the evaluated corpus.
        data: how it was asked for.
        clips: the evaluated clips of each split, with the columns `file` and, if known, `speaker_id`.

    Returns:
        `training_corpus` (see `training_corpus_of`), `is_same_corpus` (None where unknown), `is_same_split`, and
        `splits`: for each split `num_trained_on`, `num_validated_on` (clips that chose the checkpoint) and
        `num_of_trained_speakers` (clips by speakers of training clips; None where speakers are unknown), None where
        that cannot be said. And warnings, one sentence each.
    """
    trained = training_corpus_of(facts)
    seen: dict[str, Any] = {"training_corpus": trained, "is_same_corpus": None, "is_same_split": None, "splits": None}
    if trained is None:
        return seen, []
    seen["is_same_corpus"] = trained["name"] in (corpus.facts["name"], Path(data.corpus).name)
    if not seen["is_same_corpus"]:
        return seen, []
    before = _corpus_before(trained, corpus=corpus, data=data)
    if before is None:
        return seen, [
            f"The model was trained on {trained['name']}, but its split {trained['config']} cannot be made here: which "
            "of these clips it was trained on is not known."
        ]
    warnings = []
    digest_before = before.facts.get("manifest_digest")
    if trained["manifest_digest"] not in (None, digest_before):
        warnings.append(
            f"The files or the split {before.protocol} of {trained['name']} are not those that the model was trained "
            "on: clips it knows may be missed below."
        )
    seen["is_same_split"] = corpus.facts.get("manifest_digest") == (trained["manifest_digest"] or digest_before)
    seen["splits"] = {split: _counts(chosen, before=before) for split, chosen in clips.items()}
    for split, counts in seen["splits"].items():
        warnings += _warnings(split, counts, num_clips=len(clips[split]), before=before, same=seen["is_same_split"])
    return seen, warnings


def _corpus_before(trained: Mapping[str, str | None], *, corpus: RunCorpus, data: DataArguments) -> RunCorpus | None:
    """Return the corpus as the model's run divided it, or None where it cannot be divided so."""
    if trained["manifest_digest"] is not None and trained["manifest_digest"] == corpus.facts.get("manifest_digest"):
        return corpus
    if trained["config"] == corpus.protocol:
        return corpus
    try:
        return load_run_corpus(dataclasses.replace(data, split_protocol=trained["config"]))
    except (ArgumentsError, AudioError, CorpusError):
        return None


def _counts(clips: Dataset, *, before: RunCorpus) -> dict[str, int | None]:
    """Count the clips that were trained on, that validated, and that are by speakers trained on."""
    files = clips["file"][:]
    counts: dict[str, int | None] = {
        name: len(set(files) & set(before.splits[split]["file"][:]))
        for name, split in (("num_trained_on", "train"), ("num_validated_on", "validation"))
    }
    speakers, speakers_before = (
        split["speaker_id"][:] if "speaker_id" in split.column_names else [None]
        for split in (clips, before.splits["train"])
    )
    is_known = None not in speakers and None not in speakers_before
    known = set(speakers_before)
    counts["num_of_trained_speakers"] = sum(speaker in known for speaker in speakers) if is_known else None
    return counts


def _warnings(
    split: str, counts: Mapping[str, int | None], *, num_clips: int, before: RunCorpus, same: bool
) -> list[str]:
    """Say in sentences what makes the scores of a split better than they should be."""
    name = f"{before.facts['name']}, {before.protocol}"
    if counts["num_trained_on"]:
        return [
            f"{split}: the model was trained on {counts['num_trained_on']} of these {num_clips} clips (the training "
            f"split of {name}): the scores say nothing about new recordings."
        ]
    if same:
        return []
    warnings = []
    if counts["num_validated_on"]:
        warnings.append(
            f"{split}: {counts['num_validated_on']} of these {num_clips} clips chose the model's checkpoint (the "
            f"validation split of {name}): the scores are optimistic."
        )
    if counts["num_of_trained_speakers"]:
        warnings.append(
            f"{split}: {counts['num_of_trained_speakers']} of these {num_clips} clips are by speakers that the model "
            f"was trained on (the training split of {name})."
        )
    return warnings
