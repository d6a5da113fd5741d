import math

import pytest

from nvv.data import Clip
from nvv.hub.dataset_summary import summarize_audio, summarize_protocol
from nvv.hub.shards import ShardReport

DIGESTS = ("00000000000000ff", "ffffffffffffffff", "0123456789abcdef")


def report(seconds: list[float], rates: dict[str, int], digests: str, channels: dict[str, int]) -> ShardReport:
    return ShardReport(
        identity="",
        num_clips=len(seconds),
        num_bytes=0,
        file_size=0,
        seconds=(sum(seconds), min(seconds), max(seconds)) if seconds else (0.0, 0.0, 0.0),
        sampling_rates=rates,
        channels=channels,
        content_digests=digests,
        skipped=[],
    )


def test_audio_is_added_up_over_shards():
    one, two, three = DIGESTS
    audio = summarize_audio(
        [
            report([1.0, 2.0], {"8000": 2}, one + two, {"1": 2}),
            report([], {}, "", {}),
            report([0.5, 4.0, 0.25], {"8000": 1, "16000": 2}, two + two + three, {"1": 1, "2": 2}),
        ]
    )
    # 1 + 2 + 0.5 + 4 + 0.25; `two` occurs three times, so two clips are copies of an earlier one.
    assert audio.num_clips == 5
    assert audio.seconds == (7.75, 0.25, 4.0)
    assert audio.sampling_rates == {8000: 3, 16_000: 2}
    assert audio.channels == {1: 3, 2: 2}
    assert audio.num_copies == 2


def clip(file: str, label: str | None, speaker: str | None, awe: float | None = None) -> Clip:
    return Clip(file=file, label=label, speaker_id=speaker, targets={"awe": awe})


CLIPS = (
    clip("a", "cry", "s1", 0.5),
    clip("b", "cry", "s1", 0.25),
    clip("c", "laugh", "s2"),
    clip("d", "laugh", "s3"),
    clip("e", "cry", "s4", 9.0),
)


def test_protocol_is_counted_by_split():
    split_of = {"a": "test", "b": "train", "c": "train", "d": "train"}
    found = summarize_protocol("speaker", split_of, CLIPS, configs=["speaker"], targets=("awe",))
    assert list(found.num_clips.items()) == [("train", 3), ("test", 1)]  # in this order; no validation, no clip e
    assert found.num_speakers == {"train": 3, "test": 1}
    assert found.classes == {("cry", "train"): 1, ("laugh", "train"): 2, ("cry", "test"): 1}
    train, test = found.targets["awe", "train"], found.targets["awe", "test"]
    assert (train.num_missing, train.mean, train.low, train.high) == (2, 0.25, 0.25, 0.25)
    assert (test.num_missing, test.mean) == (0, 0.5)
    assert found.unmet[0] == "`test` has no `laugh`: the corpus has 2 speakers of it."


def test_target_without_a_value_is_all_missing():
    found = summarize_protocol("official", {"c": "train"}, CLIPS, configs=["official"], targets=("awe",))
    summary = found.targets["awe", "train"]
    assert summary.num_missing == 1
    assert math.isnan(summary.mean)


def test_parts_of_folds_are_in_the_order_of_their_numbers():
    found = summarize_protocol("part", {"a": 10, "b": 9, "c": 2}, CLIPS, configs=["fold_0"], wanted={2: 1, 9: 1, 10: 1})
    assert list(found.num_clips) == [2, 9, 10]
    assert any("part 2 has no `cry`" in sentence for sentence in found.unmet)


@pytest.mark.parametrize(("speaker", "expected"), [(None, {}), ("s1", {"train": 1})])
def test_speakers_are_counted_as_far_as_they_are_known(speaker, expected):
    clips = [clip("a", "cry", speaker), clip("b", "cry", None)]
    found = summarize_protocol("official", {"a": "train", "b": "train"}, clips, configs=["official"])
    assert found.num_speakers == expected
