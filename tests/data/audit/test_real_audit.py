"""The audit on the 727 clips of the Deeply Nonverbal Vocalization Dataset's public sample."""

import io

import datasets
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from nvv.audio import decode_audio, encode_wav
from nvv.data import load_corpus
from nvv.data.audit import Severity, audit_configs, audit_dataset

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def real_splits(real_data, tmp_path_factory) -> datasets.DatasetDict:
    raw = real_data / "nonverbal_vocalization"
    cache = tmp_path_factory.mktemp("cache")
    return load_corpus("nonverbal_vocalization", data_dir=raw, config="speaker", cache_dir=cache)


def mp3(waveform: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform, 16_000, format="MP3", subtype="MPEG_LAYER_III")
    return stream.getvalue()


def test_planted_copies_are_all_found_and_nothing_else(real_splits):
    test, train = real_splits["test"], real_splits["train"]
    sources = list(range(0, len(train), 29))[:20]
    contents = []
    for number, index in enumerate(sources):
        content = train[index]["audio"]["bytes"]
        waveform = decode_audio(content)
        changes = (
            content,
            encode_wav(0.1 * waveform),
            encode_wav(np.pad(waveform, (17_777, 0))),
            mp3(waveform),
            encode_wav(waveform[8_000:24_000]),
        )
        contents.append(changes[number % len(changes)])
    rows = test.select(range(20)).to_dict()
    rows["audio"] = [{"bytes": content, "path": None} for content in contents]
    rows["file"] = [f"copy/{number}.wav" for number in range(20)]
    planted = datasets.Dataset(pa.table(rows, schema=test.features.arrow_schema))
    splits = {"train": train, "test": datasets.concatenate_datasets([test, planted])}
    findings = audit_dataset(splits, name="planted").configs["default"].findings
    copies = [one for one in findings if one.kind in {"identical_bytes", "identical_samples", "near_duplicate"}]
    found = {tuple(clip.file for clip in one.clips) for one in copies}
    assert found == {(train[index]["file"], f"copy/{number}.wav") for number, index in enumerate(sources)}
    assert all(one.severity is Severity.LEAK for one in copies)
    assert [one.kind for one in copies].count("identical_bytes") == 4


def test_what_is_found_in_the_sample_as_released(real_splits, real_data, tmp_path):
    raw = real_data / "nonverbal_vocalization"
    stratified = load_corpus("nonverbal_vocalization", data_dir=raw, config="stratified", cache_dir=tmp_path)
    report = audit_configs([("speaker", real_splits), ("stratified", stratified)], name="sample")
    assert len(report.measures) == 727
    assert report.configs["speaker"].findings == ()
    assert {one.kind for one in report.configs["stratified"].findings} == {"shared_speaker"}
    kinds = [one.kind for one in report.findings]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "clipping": 5,
        "mostly_silence": 51,
        "long_edge_silence": 44,
        "duration_outlier": 32,
        "telling_duration": 2,
    }
    # The shortest of the 49 cries and laughs has 4.18 s, the longest of the other 678 clips 4.00 s.
    telling = {one.details["label"]: one.details["share_of_pairs"] for one in report.findings[-2:]}
    assert telling == {"crying": pytest.approx(0.986, abs=1e-3), "laughing": pytest.approx(0.979, abs=1e-3)}
    assert {one.clips[0].label for one in report.findings if one.kind == "duration_outlier"} == {"crying", "laughing"}
