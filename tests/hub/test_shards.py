import hashlib
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import corpus_builder
from nvv.hub import shards as shards_module
from nvv.hub.shard_plan import plan_shards
from nvv.hub.shards import ShardReport, write_shards

NAME = "nonverbal_vocalization"


@pytest.fixture
def write(tmp_path):
    """The function that writes five clips of 1 to 5 s at 8 kHz in shards of two, two and one."""
    for number in range(5):
        path = tmp_path / "raw" / "coughing" / f"AB{number:02d}_4_1_0_20_0_0_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(8000 * (number + 1), 0.01 * number), sampling_rate=8000))
    for folder in ("data", "reports"):
        (tmp_path / folder).mkdir()
    builder = corpus_builder(NAME)(cache_dir=str(tmp_path / "cache"), data_dir=str(tmp_path / "raw"))

    def write(*, num_workers=2, skip_bad_audio=False, progress=lambda _: None):
        clips = builder.collect_clips()
        parts = dict(zip((clip.file for clip in clips), ("a", "a", "b", "b", "c"), strict=True))
        plan = plan_shards(builder, clips, {"speaker": parts}, skip_bad_audio=skip_bad_audio, max_shard_bytes=10**6)
        return write_shards(
            builder,
            plan,
            folder=tmp_path / "data",
            reports=tmp_path / "reports",
            skip_bad_audio=skip_bad_audio,
            num_workers=num_workers,
            progress=progress,
        )

    return write


def bad_clip(tmp_path, number: int) -> str:
    file = f"coughing/AB{number:02d}_4_1_0_20_0_0_0.wav"
    (tmp_path / "raw" / file).write_bytes(b"")
    return file


def test_report_says_what_was_measured(write, tmp_path):
    reports, num_reused = write()
    assert num_reused == 0
    assert [report.num_clips for report in reports] == [2, 2, 1]
    assert [report.seconds for report in reports] == [(3.0, 1.0, 2.0), (7.0, 3.0, 4.0), (5.0, 5.0, 5.0)]
    assert reports[0].sampling_rates == {"8000": 2}
    assert reports[0].channels == {"1": 2}
    digests = [
        hashlib.sha256((tmp_path / "raw" / "coughing" / f"AB0{n}_4_1_0_20_0_0_0.wav").read_bytes()).hexdigest()[:16]
        for n in range(2)
    ]
    assert reports[0].content_digests == "".join(digests)
    path = tmp_path / "data" / "speaker_a-00000.parquet"
    assert reports[0].file_size == path.stat().st_size
    assert reports[0].num_bytes == pytest.approx(pq.read_table(path).nbytes, abs=8)  # a few bitmaps more or less


def test_report_is_read_as_it_was_written(write):
    report = write()[0][0]
    assert ShardReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"skipped": 1}', '{"skipped": [], "seconds": [], "mine": 1}'])
def test_report_is_refused_when_it_is_something_else(text):
    with pytest.raises(ValueError):  # noqa: PT011  # a JSON error or ours, which only the caller sees
        ShardReport.from_json(text)


def test_row_groups_are_cut_by_rows_and_by_bytes(write, tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "_ROWS_PER_GROUP", 1)
    write()
    assert pq.ParquetFile(tmp_path / "data" / "speaker_a-00000.parquet").num_row_groups == 2
    monkeypatch.setattr(shards_module, "_ROWS_PER_GROUP", 100)
    monkeypatch.setattr(shards_module, "_BYTES_PER_GROUP", 10_000)  # the first clip has 16,044 bytes
    (tmp_path / "reports" / "speaker_a-00000.parquet.json").unlink()
    write()
    assert pq.ParquetFile(tmp_path / "data" / "speaker_a-00000.parquet").num_row_groups == 2


def test_complete_shards_are_not_written_again(write, tmp_path):
    reports, _ = write()
    (tmp_path / "reports" / "speaker_b-00000.parquet.json").write_text("{")
    (tmp_path / "data" / "speaker_old-00000.parquet").write_bytes(b"PAR1")
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()}
    done = []
    again, num_reused = write(progress=done.append)
    assert (again, num_reused) == (reports, 2)
    assert done == [3, 1, 1]  # two shards of two clips and one; then clip by clip
    changed = {path.name for path in (tmp_path / "data").iterdir() if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"speaker_b-00000.parquet"}
    assert not (tmp_path / "data" / "speaker_old-00000.parquet").exists()


def test_progress_counts_every_clip_once(write):
    done = []
    write(progress=done.append)
    assert sum(done) == 5


def test_no_file_is_written_when_no_clip_of_a_shard_is_good(write, tmp_path):
    expected = [(bad_clip(tmp_path, number), "empty file (0 bytes).") for number in (0, 1, 3)]
    reports, _ = write(skip_bad_audio=True)
    assert [report.num_clips for report in reports] == [0, 1, 1]
    assert [pair for report in reports for pair in report.skipped] == expected
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "speaker_b-00000.parquet",
        "speaker_c-00000.parquet",
    ]
    assert write(skip_bad_audio=True) == (reports, 3)


def test_bad_clip_stops_all_workers(write, tmp_path):
    file = bad_clip(tmp_path, 3)
    with pytest.raises(AudioError, match=f"^{file}: empty file"):
        write()
    assert not any(path.name.startswith((".", "speaker_b")) for path in (tmp_path / "data").iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nvv-prepare")]


def test_shards_after_a_bad_clip_are_not_begun(write, tmp_path):
    bad_clip(tmp_path, 0)
    with pytest.raises(AudioError):
        write(num_workers=1)
    assert list((tmp_path / "data").iterdir()) == []


def test_workers_work_at_the_same_time(write, monkeypatch):
    meeting = threading.Barrier(2, timeout=20)
    original = shards_module.check_audio

    def check_audio(content, *, name):
        if "AB00" in name or "AB02" in name:  # the first clips of two shards
            meeting.wait()
        return original(content, name=name)

    monkeypatch.setattr(shards_module, "check_audio", check_audio)
    write(num_workers=2)  # one worker would wait for the other in vain, which breaks the barrier
