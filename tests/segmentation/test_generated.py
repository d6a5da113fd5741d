import hashlib
import io
import tracemalloc

import datasets
import numpy as np
import pytest
import soundfile
from scipy import signal

from nvv.audio import AudioError
from nvv.data import load_corpus
from nvv.segmentation.generated import GenerationError, clips_of_split, generate_recording

RATE = 16_000


def clip(seconds, seed):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture
def clips():
    """Two labels, with two clips of 0.5 and 0.7 s and one of 1.1 s."""
    return {"laugh": [clip(0.5, 1), clip(0.7, 2)], "sigh": [clip(1.1, 3)]}


@pytest.fixture
def split():
    """Six clips of three classes, the last of which has none; the third clip is no audio."""

    def encoded(seed):
        file = io.BytesIO()
        soundfile.write(file, clip(0.3, seed), RATE, format="WAV", subtype="FLOAT")
        return file.getvalue()

    cells = [{"bytes": b"no audio" if at == 2 else encoded(at), "path": None} for at in range(6)]
    features = datasets.Features(
        {
            "audio": datasets.Audio(decode=False),
            "label": datasets.ClassLabel(names=["cry", "laugh", "sigh"]),
            "file": datasets.Value("string"),
        }
    )
    columns = {"audio": cells, "label": [1, 0, 1, 1, 0, 1], "file": [f"{at}.wav" for at in range(6)]}
    plain = datasets.Features(
        {**features, "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    )
    return datasets.Dataset.from_dict(columns, features=plain).cast(features)


def samples(event):
    """Where an event is, in samples; its times are those of whole ones."""
    start, end = round(event.start_s * RATE), round(event.end_s * RATE)
    assert (start / RATE, end / RATE) == (event.start_s, event.end_s)
    return start, end


@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_clips_stand_where_the_events_say_and_nothing_else_is_in_the_noise(ending, clips, tmp_path):
    path = tmp_path / "new" / f"recording.{ending}"
    events = generate_recording(
        path, duration_s=47.03, clips_by_label=clips, events_per_minute=15, noise_dbfs=-80, snr_db=50.0, seed=3
    )
    waveform, rate = soundfile.read(path, dtype="float64")
    assert (rate, len(waveform), soundfile.info(path).subtype) == (RATE, round(47.03 * RATE), "PCM_16")
    assert len(events) == 12  # 15 a minute in 47 s
    rest = np.ones(len(waveform), dtype=bool)
    for event in events:
        start, end = samples(event)
        rest[start:end] = False
        heard = waveform[start:end]
        # One of the label's clips, first sample to last: 50 dB over the noise the correlation is all but 1.
        likeness = [
            np.dot(heard, one) / np.sqrt(np.dot(heard, heard) * np.dot(one, one))
            for one in map(np.float64, clips[event.label])
            if len(one) == len(heard)
        ]
        assert max(likeness) > 0.999
    # -80 dB of noise, of which 16 bits round a little.
    assert 20 * np.log10(np.sqrt(np.mean(waveform[rest] ** 2))) == pytest.approx(-80, abs=0.3)
    assert np.abs(waveform[rest]).max() < 0.001
    assert [path.name for path in path.parent.iterdir()] == [path.name]


def test_ratio_of_each_clip_to_the_noise_is_as_asked(clips, tmp_path):
    path = tmp_path / "a.wav"
    events = generate_recording(path, duration_s=60, clips_by_label=clips, noise_dbfs=-40, snr_db=12.0, seed=1)
    waveform, _ = soundfile.read(path)
    for event in events:
        start, end = samples(event)
        power = np.mean(waveform[start:end] ** 2)
        # Clip and noise are unrelated: powers add up. 12 dB is 15.85 times, and the noise's own once.
        assert power / 10**-4 == pytest.approx(16.85, rel=0.08)


def test_ratios_are_spread_over_a_range_when_one_is_given(clips, tmp_path):
    path = tmp_path / "a.wav"
    events = generate_recording(
        path, duration_s=120, clips_by_label=clips, noise_dbfs=-60, snr_db=(10.0, 30.0), events_per_minute=20
    )
    waveform, _ = soundfile.read(path)
    levels = [10 * np.log10(np.mean(waveform[slice(*samples(event))] ** 2)) + 60 for event in events]
    assert 9.5 < min(levels) < 13
    assert 27 < max(levels) < 30.5


@pytest.mark.parametrize(("color", "slope"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_noise_has_its_colour_and_level_throughout(color, slope, clips, tmp_path):
    path = tmp_path / "a.wav"
    events = generate_recording(
        path,
        duration_s=70,
        clips_by_label={"laugh": [clip(0.5, 1)]},
        events_per_minute=0.5,
        noise_color=color,
        noise_dbfs=-30,
        snr_db=0.0,
    )
    waveform, _ = soundfile.read(path)
    start, end = samples(events[0])
    noise = np.concatenate([waveform[:start], waveform[end:]])
    frequencies, density = signal.welch(noise, RATE, nperseg=4096)
    octaves = [density[(frequencies >= low) & (frequencies < 2 * low)].mean() for low in (100, 200, 400, 800, 1600)]
    falls = np.diff(10 * np.log10(octaves))
    assert falls == pytest.approx([slope] * 4, abs=0.7)
    levels = [20 * np.log10(np.sqrt(np.mean(part**2))) for part in np.array_split(noise, 7)]
    assert levels == pytest.approx([-30] * 7, abs=1.0)


def test_noise_has_no_clicks_where_its_pieces_meet(tmp_path):
    path = tmp_path / "a.wav"
    generate_recording(
        path,
        duration_s=70,
        clips_by_label={"laugh": [clip(0.5, 1)]},
        events_per_minute=0.1,
        noise_color="brown",
        noise_dbfs=-30,
        snr_db=-40.0,
        seed=1,
    )
    waveform, _ = soundfile.read(path)
    steps = np.diff(waveform)
    # Steps from sample to sample are Gaussian: of a million none is beyond six standard deviations.
    assert np.abs(steps).max() < 6 * steps.std()


@pytest.mark.parametrize("seed", range(5))
def test_events_keep_their_gap_and_stay_inside_when_the_recording_is_crowded(seed, clips, tmp_path):
    # 42 events: 14 rounds of three clips on average; with gaps of 0.2 s some 45 s of 60 are taken.
    events = generate_recording(
        tmp_path / "a.flac", duration_s=60, clips_by_label=clips, events_per_minute=42, min_gap_s=0.2, seed=seed
    )
    borders = [0, *[place for event in events for place in samples(event)], 60 * RATE]
    assert all(after - before >= 0.2 * RATE for before, after in zip(borders[::2], borders[1::2], strict=True))
    labels = [event.label for event in events]
    assert labels.count("laugh") == labels.count("sigh") == 21
    lengths = [end - start for start, end in map(samples, events)]
    assert abs(lengths.count(8000) - lengths.count(11_200)) <= 1  # a label's clips take turns


def test_only_different_labels_overlap_when_overlaps_are_asked_for(clips, tmp_path):
    path = tmp_path / "a.flac"
    events = generate_recording(
        path, duration_s=60, clips_by_label=clips, events_per_minute=60, min_gap_s=0.1, overlapping=True
    )
    pairs = [(a, b) for at, a in enumerate(events) for b in events[at + 1 :] if b.start_s < a.end_s]
    assert pairs
    assert all(a.label != b.label for a, b in pairs)
    assert events == sorted(events, key=lambda event: event.start_s)


def test_samples_are_the_same_for_a_seed_and_others_for_another(clips, tmp_path):
    def digest(name, seed):
        events = generate_recording(tmp_path / name, duration_s=30, clips_by_label=clips, seed=seed)
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest(), repr(events)

    assert digest("1.flac", 7) == digest("2.flac", 7)
    other = digest("3.flac", 8)
    assert other[0] != digest("1.flac", 7)[0]
    assert other[1] != digest("1.flac", 7)[1]


def test_memory_does_not_grow_with_the_recording(clips, tmp_path):
    def peak(seconds):
        tracemalloc.start()
        generate_recording(tmp_path / "a.wav", duration_s=seconds, clips_by_label=clips, seed=0)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(5)  # what is imported on the way
    short, long = peak(40), peak(400)
    # Nine times as much audio is 23 MB of float32 more.
    assert long < short + 2e6


def test_clips_of_a_split_are_sorted_by_label_and_decoded_when_asked_for(split):
    clips = clips_of_split(split)
    assert list(clips) == ["cry", "laugh"]
    assert [len(part) for part in clips.values()] == [2, 4]
    assert np.array_equal(clips["cry"][1], clip(0.3, 4))
    assert np.array_equal(clips["laugh"][3], clip(0.3, 5))
    with pytest.raises(AudioError, match=r"2\.wav"):  # only now
        clips["laugh"][1]


def test_split_is_refused_without_classes(split):
    with pytest.raises(GenerationError, match="expected the columns audio, label"):
        clips_of_split(split.remove_columns("label"))
    with pytest.raises(GenerationError, match="expected clips with labels, found none"):
        clips_of_split(split.select([]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"duration_s": 0}, "duration_s: expected a number above 0, found 0"),
        ({"duration_s": 1e-6}, "expected at least one sample"),
        ({"events_per_minute": -1}, "events_per_minute: expected a number above 0"),
        ({"events_per_minute": 60}, "expected events that fit; 10 need .* the recording has 10.0 s"),
        ({"noise_dbfs": 0}, "noise_dbfs: expected dB below 0"),
        ({"noise_color": "blue"}, "noise_color: expected one of white, pink, brown, found 'blue'"),
        ({"snr_db": (20.0, 10.0)}, "snr_db: expected a number or a range"),
        ({"snr_db": 70.0}, "would reach .* dB of full scale between 0 and 10 s"),
        ({"min_gap_s": -0.1}, "min_gap_s: expected seconds of at least 0"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"clips_by_label": {}}, "clips_by_label: expected at least one label"),
        ({"clips_by_label": {"laugh": []}}, "clips_by_label: expected at least one label"),
        ({"clips_by_label": {"laugh": [np.zeros(800, np.float32)]}}, "laugh, clip 0: .* found silence"),
    ],
)
def test_nothing_is_left_when_a_recording_cannot_be_made(options, words, clips, tmp_path):
    arguments = {"duration_s": 10, "clips_by_label": clips, **options}
    with pytest.raises(GenerationError, match=words):
        generate_recording(tmp_path / "a.flac", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_file_is_refused_when_its_ending_is_none_of_the_two(clips, tmp_path):
    with pytest.raises(GenerationError, match=r"a\.mp3: expected a file that ends in \.flac or \.wav"):
        generate_recording(tmp_path / "a.mp3", duration_s=10, clips_by_label=clips)


@pytest.mark.realdata
def test_real_clips_stand_where_the_events_say(real_data, tmp_path):
    corpus = load_corpus(
        "nonverbal_vocalization", data_dir=real_data / "nonverbal_vocalization", cache_dir=tmp_path / "c"
    )
    clips = clips_of_split(corpus["test"])
    path = tmp_path / "a.flac"
    events = generate_recording(path, duration_s=300, clips_by_label=clips, noise_dbfs=-70, snr_db=(20.0, 35.0))
    waveform, _ = soundfile.read(path, dtype="float64")
    assert len(events) == 30
    for event in events:
        start, end = samples(event)
        heard = waveform[start:end]
        alike = [one for one in map(np.float64, clips[event.label]) if len(one) == len(heard)]
        likeness = [np.dot(heard, one) / np.sqrt(np.dot(heard, heard) * np.dot(one, one)) for one in alike]
        assert max(likeness) > 0.99
