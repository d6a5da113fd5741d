"""Corpora: the base class of the loading scripts, split protocols, and loading by name."""

from ..audio import AudioError
from .corpus import Clip, CorpusBuilder, CorpusConfig
from .facts import CorpusFacts
from .loading import corpus_builder, corpus_facts, list_corpora, load_corpus
from .rawfiles import CorpusError, list_files
from .splits import SPLITS, manifest_digest, speaker_split, stratified_split

__all__ = [
    "SPLITS",
    "AudioError",
    "Clip",
    "CorpusBuilder",
    "CorpusConfig",
    "CorpusError",
    "CorpusFacts",
    "corpus_builder",
    "corpus_facts",
    "list_corpora",
    "list_files",
    "load_corpus",
    "manifest_digest",
    "speaker_split",
    "stratified_split",
]
