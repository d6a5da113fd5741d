import threading
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
import torch

from nvv import NvvForAudioClassification
from nvv.audio import AudioError, decode_audio
from nvv.decisions_nvv import front_end_of
from nvv.inference.load import Classifier, ModelError, load_classifier
from nvv.segmentation import segment
from nvv.segmentation.event_scores import event_scores
from nvv.segmentation.events import Event
from nvv.segmentation.segment import segment_file
from nvv.segmentation.settings import SegmentationSettings

TONES = (("low", 2.1, 3.4), ("high", 5.03, 5.7), ("low", 8.0, 11.0), ("high", 11.0, 12.2), ("high", 15.0, 16.0))
SECONDS = 16.0


def found(segmentation):
    return [(event.label, round(event.start_s, 2), round(event.end_s, 2)) for event in segmentation.events]


def f1(segmentation, tones=TONES, **options):
    references = {"a": [Event(start_s=start, end_s=end, label=label) for label, start, end in tones]}
    scores = event_scores(references, {"a": segmentation.events}, **options)
    return scores["event_based"]["overall"]["f1"]


@pytest.mark.parametrize(("name", "rate", "channels"), [("a.wav", 16_000, 1), ("a.flac", 44_100, 2)])
def test_known_events_are_found_where_they_are(tone_detector, tone_recording, name, rate, channels):
    path = tone_recording(TONES, seconds=SECONDS, name=name, rate=rate, channels=channels)
    segmentation = segment_file(tone_detector, path)
    assert [label for label, _, _ in found(segmentation)] == [label for label, _, _ in TONES]
    for (_, start, end), event in zip(TONES, segmentation.events, strict=True):
        assert event.start_s == pytest.approx(start, abs=0.041)  # two frames of 20 ms
        assert event.end_s == pytest.approx(end, abs=0.041)
        assert event.score > 0.9
    assert f1(segmentation, collar_s=0.05, offset_share=None) == 1.0
    assert segmentation.duration_s == pytest.approx(SECONDS)
    assert (segmentation.window_s, segmentation.hop_s) == (1.0, 0.25)
    assert segmentation.labels == ("low", "high")
    assert segmentation.thresholds == {"low": 0.5, "high": 0.5}
    assert segmentation.file == str(path)


def test_model_that_knows_nothing_finds_nothing_right(tone_detector, tone_recording):
    path = tone_recording(TONES, seconds=SECONDS)
    head = tone_detector.model.head.classifier
    with torch.no_grad():  # labels changed places
        for values in (head.weight, head.bias):
            values.copy_(values[[1, 2, 0]].clone())
    assert f1(segment_file(tone_detector, path), collar_s=0.5) == 0.0


def test_scores_are_those_of_each_window_of_the_whole_recording(tone_detector, tone_recording):
    path = tone_recording(TONES, seconds=25.3, rate=44_100)
    segmentation = segment_file(
        tone_detector, path, settings=SegmentationSettings(smoothing="none"), max_batch_seconds=7.0
    )
    waveform = decode_audio(path)
    assert segmentation.scores.shape == (101, 2)
    for at in (0, 1, 2, 7, 21, 60, 99, 100):
        start = round(segmentation.window_starts_s[at] * 16_000)
        window = torch.from_numpy(waveform[max(0, start) : start + 16_000])[None]
        with torch.no_grad():
            logits = tone_detector.model(input_values=window, attention_mask=torch.ones_like(window, dtype=torch.long))
        expected = torch.softmax(logits.logits[0], dim=-1)[1:]
        np.testing.assert_allclose(segmentation.scores[at], expected, atol=1e-5)


def test_batches_and_threads_change_nothing(tone_detector, tone_recording):
    path = tone_recording(TONES, seconds=SECONDS)
    one, other = (
        segment_file(tone_detector, path, max_batch_seconds=seconds, num_workers=workers)
        for seconds, workers in ((1.0, 0), (30.0, 3))
    )
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    assert found(one) == found(other)


@pytest.mark.parametrize("samples", [1, 500, 8_000, 16_000])
def test_recording_no_longer_than_a_window_is_classified_as_one_clip(tone_detector, tmp_path, samples):
    waveform = (0.3 * np.sin(2 * np.pi * 300 * np.arange(samples) / 16_000 + 1)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", waveform, 16_000)
    settings = SegmentationSettings(silence_dbfs=None)
    segmentation = segment_file(tone_detector, tmp_path / "a.wav", settings=settings)
    assert segmentation.scores.shape == (1, 2)
    assert segmentation.duration_s == samples / 16_000
    assert segmentation.window_starts_s[0] + 0.5 == pytest.approx(segmentation.duration_s / 2, abs=1e-4)
    if samples > 8_000:
        assert found(segmentation) == [("low", 0.0, 1.0)]


def test_no_event_is_found_in_noise(tone_detector, tone_recording):
    segmentation = segment_file(tone_detector, tone_recording([], seconds=10.0))
    assert segmentation.events == ()
    assert segmentation.scores.max() < 0.5


def test_windows_below_the_level_are_not_given_to_the_model(tone_detector, tmp_path, monkeypatch):
    waveform = np.zeros(160_000, np.float32)
    waveform[64_000:96_000] = 0.2 * np.sin(2 * np.pi * 300 * np.arange(32_000) / 16_000)
    soundfile.write(tmp_path / "a.wav", waveform, 16_000)
    keys = []
    compute_stream = segment.compute_stream

    def counted(classifier, sounds, **options):
        return compute_stream(classifier, (keys.append(sound.key.index) or sound for sound in sounds), **options)

    monkeypatch.setattr(segment, "compute_stream", counted)
    segmentation = segment_file(tone_detector, tmp_path / "a.wav")
    # Windows of 1 s that overlap 4 to 6 s: centred from 3.5 to 6.5 s, on cells of 0.25 s.
    assert keys == list(range(14, 26))
    unheard = np.isnan(segmentation.scores).all(axis=1)
    assert np.flatnonzero(~unheard).tolist() == keys
    assert found(segmentation) == [("low", 4.0, 6.0)]
    keys.clear()
    everything = segment_file(tone_detector, tmp_path / "a.wav", settings=SegmentationSettings(silence_dbfs=None))
    assert keys == list(range(40))
    assert np.isfinite(everything.scores).all()


def test_silent_recording_has_no_events_and_no_scores(tone_detector, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(80_000), 16_000)
    segmentation = segment_file(tone_detector, tmp_path / "a.wav")
    assert segmentation.events == ()
    assert np.isnan(segmentation.scores).all()


def test_settings_change_what_is_found(tone_detector, tone_recording):
    path = tone_recording(TONES, seconds=SECONDS)

    def with_settings(**fields):
        return segment_file(tone_detector, path, settings=SegmentationSettings(**fields))

    assert {label for label, _, _ in found(with_settings(labels=("high",)))} == {"high"}
    assert {label for label, _, _ in found(with_settings(background=("low",)))} == {"background", "high"}
    assert len(with_settings(min_event_seconds=1.5).events) == 1
    coarse = with_settings(refine_ends=False)
    assert all((4 * event.start_s).is_integer() for event in coarse.events)
    assert len(with_settings(hop_seconds=0.5).scores) == 32
    joined = with_settings(max_gap_seconds=5.0, labels=("low",))
    assert [label for label, _, _ in found(joined)] == ["low"]


def test_stored_operating_point_decides_unless_another_threshold_is_given(tone_detector, tone_recording):
    # A tone of 0.45 s fills less than half a window, which the model rather calls background.
    path = tone_recording([("low", 4.0, 4.45)], seconds=8.0)
    assert segment_file(tone_detector, path).events == ()
    config = tone_detector.model.config
    config.operating_points = {"low": {"threshold": 0.1, "front_end": front_end_of(config)}}
    stored = segment_file(tone_detector, path)
    assert stored.thresholds == {"low": 0.1, "high": 0.5}
    ((label, start, end),) = found(stored)
    assert label == "low"
    assert (start, end) == pytest.approx((4.0, 4.45), abs=0.041)
    given = segment_file(tone_detector, path, settings=SegmentationSettings(thresholds={"low": 0.5}))
    assert given.thresholds == {"low": 0.5, "high": 0.5}
    assert given.events == ()


def test_labels_with_yes_or_no_may_overlap(tone_detector, tone_recording):
    both = Classifier(**{**vars(tone_detector), "is_multi_label": True})
    path = tone_recording([("low", 2.0, 5.0), ("high", 3.5, 6.5)], seconds=8.0)
    with torch.no_grad():  # yes to both tones, wherever there is one
        head = both.model.head.classifier
        head.weight[1] = head.weight[2] = head.weight[1] + head.weight[2] - 2 * head.weight[0]
        head.bias[1] = head.bias[2] = head.bias[1] + head.bias[2] - 2 * head.bias[0]
    labels = [event.label for event in segment_file(both, path).events]
    assert sorted(labels) == ["high", "low"]


def test_random_weights_are_no_trained_model(tone_detector, tone_recording):
    path = tone_recording([], seconds=1.0)
    assert segment_file(tone_detector, path).model_is_trained is False
    facts = type(tone_detector.facts)(**{**vars(tone_detector.facts), "random_init": False})
    unknown = Classifier(**{**vars(tone_detector), "facts": facts})
    assert segment_file(unknown, path).model_is_trained is None


def test_every_block_is_listened_to(tone_detector, tone_recording):
    path = tone_recording(TONES, seconds=23.7, rate=22_050)
    blocks = []
    segment_file(tone_detector, path, listen=blocks.append)
    assert len(blocks) > 2
    np.testing.assert_allclose(np.concatenate(blocks), decode_audio(path), atol=1e-6)


def test_progress_is_drawn_where_it_is_asked_for(tone_detector, tone_recording, capsys):
    path = tone_recording([], seconds=5.0)
    segment_file(tone_detector, path)
    assert capsys.readouterr().err == ""
    segment_file(tone_detector, path, show_progress=True)
    drawn = capsys.readouterr().err
    assert "recording.wav" in drawn
    assert "0/5" in drawn


def test_cut_off_recording_is_an_error_that_names_it(tone_detector, tone_recording):
    path = tone_recording(TONES, seconds=SECONDS, name="a.flac")
    path.write_bytes(path.read_bytes()[:-50_000])
    before = threading.active_count()
    with pytest.raises(AudioError, match=r"a\.flac: .*cut off"):
        segment_file(tone_detector, path)
    assert threading.active_count() == before


def test_recording_too_short_for_a_stock_model_is_an_error_that_names_it(tone_detector, tiny_backbone_config, tmp_path):
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    config = tiny_backbone_config("wav2vec2")
    config.update({"id2label": {0: "other", 1: "laugh"}, "label2id": {"other": 0, "laugh": 1}})
    Wav2Vec2ForSequenceClassification(config).save_pretrained(tmp_path / "stock")
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(tmp_path / "stock")
    stock = load_classifier(str(tmp_path / "stock"))
    soundfile.write(tmp_path / "short.wav", np.full(100, 0.1) * np.arange(100), 16_000)
    with pytest.raises(AudioError, match=r"short\.wav: too short"):
        segment_file(stock, tmp_path / "short.wav")
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 60_000), 16_000)
    segmentation = segment_file(stock, tmp_path / "long.wav")
    assert segmentation.labels == ("laugh",)
    assert segmentation.scores.shape == (15, 1)


def test_scores_that_are_no_numbers_are_an_error(tone_detector, tone_recording):
    with torch.no_grad():
        tone_detector.model.head.classifier.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"gives scores that are not finite \(.*recording.wav\)"):
        segment_file(tone_detector, tone_recording([], seconds=3.0))


def test_interrupt_ends_the_threads(tone_detector, tone_recording):
    path = tone_recording([], seconds=30.0)
    before = threading.active_count()

    def interrupt(block):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_file(tone_detector, path, listen=interrupt)
    assert threading.active_count() == before


def test_no_more_is_decoded_than_is_soon_needed(tone_detector, tone_recording, monkeypatch):
    """However long a recording is, what waits between decoder and model is bounded."""
    path = tone_recording([], seconds=1.0)  # for the header
    decoded, waiting = [0], []

    def endless(path, **options) -> Iterator[np.ndarray]:
        generator = np.random.default_rng(0)
        for _ in range(120):
            decoded[0] += 1
            yield generator.normal(0, 0.01, 16_000).astype(np.float32)

    compute_stream = segment.compute_stream

    def watched(*arguments, **options):
        for place, row in compute_stream(*arguments, **options):
            waiting.append(decoded[0] - place.index * 0.25)
            yield place, row

    monkeypatch.setattr(segment, "decode_blocks_ahead", endless)
    monkeypatch.setattr(segment, "compute_stream", watched)
    segmentation = segment_file(tone_detector, path, max_batch_seconds=4.0)
    assert segmentation.duration_s == 120
    assert len(waiting) == 480
    # Eight batches of 4 s wait, and some are computed; a window takes 0.25 s further.
    assert max(waiting) < 30


def test_library_leaves_the_model_as_it_is(tone_detector, tone_recording):
    before = {name: value.clone() for name, value in tone_detector.model.state_dict().items()}
    segment_file(tone_detector, tone_recording(TONES, seconds=4.0 + SECONDS))
    assert isinstance(tone_detector.model, NvvForAudioClassification)
    for name, value in tone_detector.model.state_dict().items():
        assert torch.equal(value, before[name])
