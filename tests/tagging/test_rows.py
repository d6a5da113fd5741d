"""Rows and what a model makes of their recordings."""

import numpy as np
import pyarrow as pa

from nvv.audio import AudioError, encode_wav
from nvv.tagging.rows import Recording, heard_tables


def listen(sounds):
    """Instead of a model: the number of samples."""
    for sound in sounds:
        try:
            yield sound.key, np.array([len(sound.load())], np.float32)
        except AudioError as error:
            yield sound.key, error


def heard(tables, *, listen=listen, **options):
    options = {"audio_column": "audio", "root": None, "where": "train", **options}
    return list(heard_tables(tables, listen, **options))


def clip(samples):
    return encode_wav(np.zeros(samples))


def answers_of(parts):
    return [answer if isinstance(answer, AudioError) else answer.tolist() for part in parts for answer in part.answers]


def test_heard_tables_give_each_table_with_its_answers_when_there_are_several():
    tables = [
        pa.table({"audio": [clip(10), clip(20)]}),
        pa.table({"audio": pa.array([], pa.binary())}),
        pa.table({"audio": [clip(30)]}),
    ]
    parts = heard(tables)
    assert [part.table.num_rows for part in parts] == [2, 1]
    assert answers_of(parts) == [[10], [20], [30]]
    assert [recording.name for part in parts for recording in part.recordings] == [
        "train, row 0",
        "train, row 1",
        "train, row 2",
    ]


def test_heard_tables_wait_for_few_tables_when_the_model_looks_ahead():
    taken = []

    def tables():
        for number in range(100):
            taken.append(number)
            yield pa.table({"audio": [clip(10)]})

    def ahead(sounds):
        """Answers with two sounds in hand."""
        waiting = []
        for sound in sounds:
            waiting.append(sound)
            if len(waiting) > 2:
                yield from listen([waiting.pop(0)])
        yield from listen(waiting)

    parts = heard_tables(tables(), ahead, audio_column="audio", root=None, where="train")
    next(parts)
    assert len(taken) == 3
    parts.close()


def test_heard_tables_find_recordings_when_cells_are_bytes_paths_or_both(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(clip(11))
    assert answers_of(heard([pa.table({"audio": ["in/a.wav"]})], root=tmp_path)) == [[11]]
    assert answers_of(heard([pa.table({"audio": [str(tmp_path / "in" / "a.wav")]})])) == [[11]]
    cells = [{"bytes": None, "path": str(tmp_path / "in" / "a.wav")}, {"bytes": clip(12), "path": "elsewhere.wav"}]
    assert answers_of(heard([pa.table({"audio": cells})])) == [[11], [12]]


def test_heard_tables_name_the_recording_when_it_cannot_be_read(tmp_path):
    def message(**columns):
        (error,) = answers_of(heard([pa.table(columns)], root=tmp_path))
        return str(error)

    assert message(audio=[b"no audio"]).startswith("train, row 0: not readable as audio")
    assert message(audio=[b"no audio"], file=["one.wav"]).startswith("one.wav: not readable")
    assert message(audio=["in/b.wav"]).startswith("in/b.wav: no such file")
    assert message(audio=pa.array([None], pa.string())) == "train, row 0: no recording in this row."
    # Where a file lay on this machine is nobody's business.
    assert str(tmp_path) not in message(audio=[{"bytes": None, "path": str(tmp_path / "gone.wav")}])


def test_recording_keeps_the_bytes_of_its_file_when_they_are_wanted(tmp_path):
    (tmp_path / "a.wav").write_bytes(clip(11))
    recordings = {keeps: Recording(name="a", path=str(tmp_path / "a.wav"), is_kept=keeps) for keeps in (True, False)}
    assert [len(recording.load()) for recording in recordings.values()] == [11, 11]
    assert recordings[True].content == clip(11)
    assert recordings[False].content is None


def test_recording_is_read_no_further_when_the_model_hears_its_start():
    recording = Recording(name="a", content=clip(32_000), max_seconds=0.5)
    assert len(recording.load()) == 8_000


def test_heard_tables_stop_the_model_when_the_reader_stops():
    closed = []

    def patient(sounds):
        try:
            yield from listen(sounds)
        finally:
            closed.append(True)

    parts = heard_tables([pa.table({"audio": [clip(10)]})] * 3, patient, audio_column="audio", root=None, where="train")
    next(parts)
    assert closed == []
    parts.close()
    assert closed == [True]
