"""Corpora: the base class of the loading scripts, split protocols, and loading by name."""

from ..audio import AudioError
from .clip import Clip, Excluded
from .configs import CorpusConfig, protocol_configs
from .corpus import CorpusBuilder
from .facts import CorpusFacts
from .loading import corpus_builder, corpus_facts, list_corpora, load_corpus
from .own_data import OwnData, load_own_data, open_own_data
from .rawfiles import CorpusError, list_files
from .splits import (
    SPLITS,
    SplitError,
    fold_split,
    manifest_digest,
    random_folds,
    speaker_folds,
    speaker_split,
    stratified_split,
    unmet_wishes,
)

__all__ = [
    "SPLITS",
    "AudioError",
    "Clip",
    "CorpusBuilder",
    "CorpusConfig",
    "CorpusError",
    "CorpusFacts",
    "Excluded",
    "OwnData",
    "SplitError",
    "corpus_builder",
    "corpus_facts",
    "fold_split",
    "list_corpora",
    "list_files",
    "load_corpus",
    "load_own_data",
    "manifest_digest",
    "open_own_data",
    "protocol_configs",
    "random_folds",
    "speaker_folds",
    "speaker_split",
    "stratified_split",
    "unmet_wishes",
]
