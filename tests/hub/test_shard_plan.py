import fnmatch
import os
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import encode_wav
from nvv.data import Clip, corpus_builder
from nvv.hub import shard_plan
from nvv.hub.shard_plan import data_glob, plan_shards

NAME = "nonverbal_vocalization"


@pytest.fixture
def builder(tmp_path):
    """Six clips of 144 bytes by six speakers."""
    for number in range(6):
        path = tmp_path / "raw" / "coughing" / f"AB{number:02d}_4_1_0_20_0_0_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(50, 0.1)))  # 44 bytes of header, 50 samples of two bytes
    return corpus_builder(NAME)(cache_dir=str(tmp_path / "cache"), data_dir=str(tmp_path / "raw"))


@pytest.fixture
def plan(builder):
    def plan(assignments=None, *, skip_bad_audio=False, max_shard_bytes=10_000):
        clips = builder.collect_clips()
        assignments = assignments or {"speaker": {clip.file: "train" for clip in clips}}
        return plan_shards(builder, clips, assignments, skip_bad_audio=skip_bad_audio, max_shard_bytes=max_shard_bytes)

    return plan


def numbers(shards) -> list[list[int]]:
    """The speakers' numbers by shard."""
    return [[int(clip.speaker_id[2:]) for clip in shard.clips] for shard in shards]


def files(*speakers: int) -> list[str]:
    return [f"coughing/AB{speaker:02d}_4_1_0_20_0_0_0.wav" for speaker in speakers]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (432, [[0, 1, 2], [3, 4, 5]]),  # 3 * 144 = 432 fits exactly
        (431, [[0, 1], [2, 3], [4, 5]]),
        (100, [[0], [1], [2], [3], [4], [5]]),  # each is larger than the limit
    ],
)
def test_shards_are_cut_by_the_size_of_the_raw_files(plan, limit, expected):
    shards = plan(max_shard_bytes=limit)
    assert numbers(shards) == expected
    assert [shard.name for shard in shards] == [f"speaker_train-{number:05d}.parquet" for number in range(len(shards))]


def test_clips_stand_together_when_all_assignments_agree(plan):
    shards = plan(
        {
            "speaker": {**dict.fromkeys(files(0, 1, 2, 3), "train"), **dict.fromkeys(files(4, 5), "test")},
            "official": dict.fromkeys(files(0, 2), "train"),
            "part": dict(zip(files(0, 1, 2, 3, 4, 5), (1, 10, 1, 10, 10, 10), strict=True)),
        }
    )
    assert {shard.name: clips for shard, clips in zip(shards, numbers(shards), strict=True)} == {
        "speaker_test-official_none-part_10-00000.parquet": [4, 5],
        "speaker_train-official_none-part_10-00000.parquet": [1, 3],
        "speaker_train-official_train-part_1-00000.parquet": [0, 2],
    }
    assert shards[0].parts == {"speaker": "test", "official": None, "part": 10}


def test_globs_match_their_own_part_only():
    order = ["speaker", "native_speaker", "part"]
    names = [
        f"data/speaker_{first}-native_speaker_{second}-part_{part}-00000.parquet"
        for first in ("train", "test")
        for second in ("train", "test")
        for part in (1, 10, 11)
    ]
    for position, (name, values) in enumerate(
        [("speaker", ("train", "test")), ("native_speaker", ("train", "test")), ("part", (1, 10, 11))]
    ):
        for value in values:
            expected = [text for text in names if text[5:].split("-")[position] == f"{name}_{value}"]
            assert fnmatch.filter(names, data_glob(order, name, value)) == expected


def test_plan_is_the_same_when_the_folder_is_another(builder, plan, tmp_path):
    before = plan()
    (tmp_path / "raw").rename(tmp_path / "moved")
    builder = corpus_builder(NAME)(cache_dir=str(tmp_path / "cache"), data_dir=str(tmp_path / "moved"))
    clips = builder.collect_clips()
    assignments = {"speaker": {clip.file: "train" for clip in clips}}
    assert plan_shards(builder, clips, assignments, skip_bad_audio=False, max_shard_bytes=10_000) == before


@pytest.mark.parametrize("change", ["nothing", "time", "size", "option", "code", "metadata"])
def test_identity_is_another_when_anything_changed_that_decides_the_bytes(plan, tmp_path, monkeypatch, change):
    first, second = plan(max_shard_bytes=432)
    path: Path = tmp_path / "raw" / files(0)[0]
    status = path.stat()
    if change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    if change == "size":
        path.write_bytes(path.read_bytes()[:-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    if change == "code":
        monkeypatch.setattr(shard_plan, "code_digest", lambda: "another")
    if change == "metadata":
        (tmp_path / "raw" / "Nonverbal_Vocalization_metadata.json").write_text('{"AB00": {"age": 7}}')
    found, other = plan(max_shard_bytes=432, skip_bad_audio=change == "option")
    assert (found.identity == first.identity) is (change == "nothing")
    assert (other.identity == second.identity) is (change not in ("option", "code"))  # the others' files did not change


def test_computed_clips_are_counted(tmp_path):
    builder = corpus_builder("synthetic")(cache_dir=str(tmp_path))
    clips = [Clip(file=f"{number:04d}", speaker_id="a", label="laugh") for number in range(2001)]
    shards = plan_shards(
        builder,
        clips,
        {"speaker": {clip.file: "train" for clip in clips}},
        skip_bad_audio=False,
        max_shard_bytes=1,
    )
    assert [len(shard.clips) for shard in shards] == [1000, 1000, 1]
