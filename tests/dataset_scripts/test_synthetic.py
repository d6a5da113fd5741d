import hashlib
import time
from collections import Counter

import numpy as np
import pytest
import torch
import torchaudio
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nvv.audio import decode_audio
from nvv.data import CorpusError, corpus_builder, corpus_facts, load_corpus


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The corpus, and how long building it took."""
    start = time.process_time()  # CPU seconds: other processes may share the core
    dataset = load_corpus("synthetic", cache_dir=tmp_path_factory.mktemp("cache"))
    return dataset, time.process_time() - start


def test_corpus_has_480_clips_of_8_classes_by_30_voices_in_time(built):
    dataset, seconds = built
    assert dataset.num_rows == {"train": 384, "validation": 48, "test": 48}
    labels = Counter(label for split in dataset.values() for label in split["label"])
    assert labels == dict.fromkeys(range(8), 60)
    voices = [set(split["speaker_id"]) for split in dataset.values()]
    assert list(map(len, voices)) == [24, 3, 3]
    assert len(set.union(*voices)) == 30
    assert seconds < 30  # promised for one core


def test_clips_are_16_bit_wav_of_promised_length(built):
    lengths = []
    for row in built[0]["test"]:
        content = row["audio"]["bytes"]
        assert content[:4] == b"RIFF"
        assert content[34:36] == b"\x10\x00"  # bits a sample, in the canonical 44-byte header
        lengths.append(len(decode_audio(content)) / 16_000)
    assert 0.4 <= min(lengths) < 1.0
    assert 2.0 < max(lengths) <= 4.0


def test_clips_are_the_same_on_every_run(built, tmp_path):
    row = built[0]["test"][0]
    builder = corpus_builder("synthetic")(cache_dir=str(tmp_path))
    clip = next(clip for clip in builder.collect_clips() if clip.file == row["file"])
    assert hashlib.sha256(builder.read_clip(clip)).digest() == hashlib.sha256(row["audio"]["bytes"]).digest()


def test_linear_probe_learns_much_but_not_all(built):
    spectrogram = {"n_fft": 400, "hop_length": 160, "n_mels": 40}
    mfcc = torchaudio.transforms.MFCC(16_000, n_mfcc=20, melkwargs=spectrogram)
    features = {}
    for name, split in built[0].items():
        statistics = []
        for row in split:
            coefficients = mfcc(torch.from_numpy(decode_audio(row["audio"])))  # (coefficients, frames)
            statistics.append(torch.cat([coefficients.mean(1), coefficients.std(1)]).numpy())
        features[name] = np.stack(statistics)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    probe.fit(features["train"], built[0]["train"]["label"])
    for name in ("validation", "test"):
        score = f1_score(built[0][name]["label"], probe.predict(features[name]), average="macro")
        assert 0.7 < score < 0.97, name  # chance: 0.125


def test_data_dir_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="synthetic is computed and takes no data_dir"):
        load_corpus("synthetic", data_dir=tmp_path, cache_dir=tmp_path / "cache")


def test_facts_say_that_it_is_no_evidence():
    facts = corpus_facts("synthetic")
    assert facts.is_synthetic is True
    assert any("no evidence" in note for note in facts.notes)
