from pathlib import Path

import pytest

from nvv.data import Clip, CorpusError, Excluded
from nvv.data.asvp_esd import EMOTIONS, METADATA, list_half


@pytest.fixture
def describe(tmp_path):
    """The function that makes an empty file and describes its half of the release."""

    def describe(file: str, *, half: str = "Audio", **options) -> list[Clip | Excluded]:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        options = {"labels": tuple(EMOTIONS.values()), "columns": tuple(METADATA), "with_speech": True, **options}
        return list(list_half(tmp_path, half, **options))

    return describe


def test_ten_fields_become_columns_by_position(describe):
    assert describe("Audio/actor_8/03-02-09-02-07-08-03-03-01-13.wav") == [
        Clip(
            file="Audio/actor_8/03-02-09-02-07-08-03-03-01-13.wav",
            speaker_id="8",
            label="excited",
            metadata={
                "channel": "non-speech",
                "intensity_code": "02",
                "intensity": "high",
                "statement": "07",
                "age_code": "03",
                "age": "under 20",
                "source_code": "03",
                "source": "film",
                "language_code": "01",
                "first_extra": "13",
                "extra_fields": "13",
                "mixed_voices": False,
                "noise": False,
                "folder": "actor_8",
                "sex": "male",
            },
        )
    ]


@pytest.mark.parametrize(
    ("tail", "language", "first_extra", "extra_fields", "mixed_voices", "noise"),
    [
        ("02", None, None, None, False, False),  # eight fields: no language
        ("02-04", "04", None, None, False, False),
        ("66-77", "77", None, None, False, False),  # a source and a language, not flags
        ("02-66", "66", None, None, False, False),
        ("02-04-66", "04", "66", "66", True, False),
        ("02-04-77", "04", "77", "77", False, True),
        ("02-04-14-66", "04", "14", "14-66", True, False),
        ("02-04-14-01-77", "04", "14", "14-01-77", False, True),
        ("02-04-14-77-01", "04", "14", "14-77-01", False, False),  # only the last field is a flag
        ("02-04-14 -01", "04", "14 ", "14 -01", False, False),
    ],
)
def test_tail_of_the_name_is_read_when(describe, tail, language, first_extra, extra_fields, mixed_voices, noise):
    (clip,) = describe(f"Audio/actor_7/03-02-01-01-12-07-02-{tail}.wav")
    found = {name: clip.metadata[name] for name in ("language_code", "first_extra", "extra_fields")}
    assert found == {"language_code": language, "first_extra": first_extra, "extra_fields": extra_fields}
    assert (clip.metadata["mixed_voices"], clip.metadata["noise"]) == (mixed_voices, noise)


@pytest.mark.parametrize(
    ("fields", "column", "text"),
    [
        ("021-10-07-02-02", "intensity", "021"),
        ("00-10-07-02-02", "intensity", "00"),
        ("01-10-07-0401-02", "age", "0401"),
        ("01-10-07-05-02", "age", "05"),
        ("01-10-07-02-07", "source", "07"),
    ],
)
def test_odd_value_is_kept_as_text_without_a_meaning(describe, fields, column, text):
    (clip,) = describe(f"Audio/actor_7/03-02-01-{fields}-02.wav")
    assert clip.metadata[f"{column}_code"] == text
    assert clip.metadata[column] is None


@pytest.mark.parametrize(
    ("actor", "folder", "speaker", "sex"),
    [("08", "actor_8", "8", "male"), ("123", "actor_", "123", "female"), ("00", "actor_0", "0", "male")],
)
def test_speaker_comes_from_the_name_and_the_folder_is_kept(describe, actor, folder, speaker, sex):
    (clip,) = describe(f"Audio/{folder}/03-02-01-01-12-{actor}-02-02-02.wav")
    assert (clip.speaker_id, clip.metadata["folder"], clip.metadata["sex"]) == (speaker, folder, sex)


def test_speech_is_excluded_where_the_corpus_has_none(describe):
    file = "Audio/actor_7/03-01-01-01-12-07-02-02-02.wav"
    assert describe(file, with_speech=False) == [Excluded(file=file, reason="speech (channel 01)")]
    (clip,) = describe(file)
    assert clip.metadata["channel"] == "speech"


@pytest.mark.parametrize("emotion", ["17", "13"])
def test_emotion_that_the_corpus_lacks_is_excluded(describe, emotion):
    file = f"Audio/actor_7/03-02-{emotion}-01-12-07-02-02-02.wav"
    reason = f"emotion code {emotion} is none of the corpus's 2"
    assert describe(file, labels=("boredom_sigh", "excited")) == [Excluded(file=file, reason=reason)]


def test_only_the_named_columns_are_given(describe):
    (clip,) = describe("Audio/actor_7/03-02-01-01-12-07-02-02-02.wav", columns=("age", "noise"))
    assert clip.metadata == {"age": "20-64", "noise": False}


def test_other_half_and_other_files_are_not_looked_at(describe, tmp_path):
    for name in ("Bonus/actor_50/what is this.wav", "Audio/labels.csv", "Audio/actor_7/._03.wav", "cut.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (clip,) = describe("Audio/actor_7/03-02-01-01-12-07-02-02-02.WAV")
    assert clip.file == "Audio/actor_7/03-02-01-01-12-07-02-02-02.WAV"


def test_case_of_folders_does_not_matter(describe):
    (clip,) = describe("AUDIO/Actor_7/03-02-01-01-12-07-02-02-02.wav")
    assert (clip.file, clip.metadata["folder"]) == ("AUDIO/Actor_7/03-02-01-01-12-07-02-02-02.wav", "Actor_7")


def test_missing_half_is_named(describe):
    with pytest.raises(CorpusError, match=r"^Bonus: no such folder in .*; this copy of ASVP-ESD lacks that half"):
        describe("Audio/actor_7/03-02-01-01-12-07-02-02-02.wav", half="Bonus")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("actor_7/laugh.wav", "1 field in the name, expected at least 8"),
        ("actor_7/03-02-01-01-12-07-02.wav", "7 fields in the name, expected at least 8"),
        ("actor_7/03-02-01-01-12-07-02-02-02-x.wav", "field 10 of the name is 'x', expected a number"),
        ("actor_7/03-02-01-01-12-07-02-02-02 (1).wav", "field 9 of the name is '02 (1)', expected a number"),
        ("actor_7/03-02-01-01-12--02-02-02.wav", "field 6 of the name is '', expected a number"),
        ("actor_7/03-03-01-01-12-07-02-02-02.wav", "channel '03', expected 01 (speech) or 02 (non-speech)"),
        ("03-02-01-01-12-07-02-02-02.wav", "not in the folder of an actor; expected Audio/actor_<number>/<name>.wav"),
        ("sounds/03-02-01-01-12-07-02-02-02.wav", "not in the folder of an actor"),
        ("actor_7/cut/03-02-01-01-12-07-02-02-02.wav", "not in the folder of an actor"),
    ],
)
def test_name_is_refused_and_named_when(describe, name, message):
    with pytest.raises(CorpusError) as caught:
        describe(f"Audio/{name}")
    assert str(caught.value).startswith(f"Audio/{name}: ")
    assert message in str(caught.value)


def test_labels_are_in_the_order_of_the_codes():
    assert list(EMOTIONS) == [f"{code:02d}" for code in range(1, 14)]
    assert (EMOTIONS["04"], EMOTIONS["11"], EMOTIONS["13"]) == ("sad_cry", "pain_groan", "breath")


def test_file_order_does_not_depend_on_the_file_system(tmp_path):
    names = [f"03-02-01-01-{number:02d}-07-02-02-02.wav" for number in range(20)]
    listings = []
    for run, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(run) / "Bonus" / "actor_7"
        folder.mkdir(parents=True)
        for name in order:
            (folder / name).touch()
        root = Path(tmp_path / str(run))
        clips = list_half(root, "Bonus", labels=("boredom_sigh",), columns=(), with_speech=True)
        listings.append([clip.file for clip in clips])
    assert listings[0] == listings[1] == [f"Bonus/actor_7/{name}" for name in names]
