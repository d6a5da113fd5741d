from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, pipeline

from nvv.audio import AudioError
from nvv.inference import classify_clips, load_classifier
from nvv.inference.load import Classifier
from nvv.inference.streams import DTYPES, Sound, compute_stream, heard_seconds, ready_classifier
from nvv.training.arguments import ArgumentsError
from nvv.training.dataset import ClipDataset

STOCK = ("whisper", "wav2vec2", "audio-spectrogram-transformer")


@pytest.fixture
def make_classifier(tiny_backbone_config, tiny_model):
    """Make a tiny classifier of this package."""

    def make(family="whisper", *, backbone_config=None, **fields):
        backbone_config = tiny_backbone_config(family) if backbone_config is None else backbone_config
        model = tiny_model(backbone_config, **fields)
        normalises = backbone_config.model_type != "whisper"
        return Classifier(
            model=model,
            feature_extractor=Wav2Vec2FeatureExtractor(do_normalize=normalises, return_attention_mask=True),
            label_names=list(model.config.id2label.values()),
            is_multi_label=False,
            max_seconds=model.config.max_seconds,
            facts=None,
        )

    return make


def noises(seconds, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(0, 0.1, round(one * 16_000)).astype(np.float32) for one in seconds]


def sounds_of(waveforms):
    return [Sound(at, lambda waveform=waveform: waveform) for at, waveform in enumerate(waveforms)]


def rows_of(answers):
    return np.stack([row for _, row in answers])


def threads_of_streams():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


# ----------------------------------------------------------------------------------------------------------------------
# Numbers
# ----------------------------------------------------------------------------------------------------------------------


def test_rows_equal_those_of_listed_clips_in_every_family(every_backbone_config, make_classifier, tones):
    clips = ClipDataset(tones(), max_seconds=1.0)
    classifier = make_classifier(backbone_config=every_backbone_config, max_seconds=1.0)
    expected = classify_clips(classifier.model, classifier.feature_extractor, clips, num_workers=0)
    sounds = [Sound(file, lambda at=at: clips[at]["input_values"]) for at, file in enumerate(clips.files)]
    for max_batch_seconds in (0.1, 2.5):
        answers = list(compute_stream(classifier, sounds, max_batch_seconds=max_batch_seconds, num_workers=2))
        assert [key for key, _ in answers] == clips.files
        np.testing.assert_allclose(rows_of(answers), expected, atol=1e-5)
    assert np.abs(expected - expected[::-1]).max() > 1e-2  # the clips differ, so a wrong order would be seen


def test_rows_equal_those_of_single_clips_when_silence_is_heard(make_classifier):
    classifier = make_classifier("wav2vec2", padding="silence")
    waveforms = noises([0.3, 1.2, 4.0, 0.7])
    expected = []
    for waveform in waveforms:
        inputs = classifier.feature_extractor(waveform[:48_000], sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            expected.append(classifier.model(**inputs).logits[0].numpy())
    answers = compute_stream(classifier, sounds_of(waveforms), max_batch_seconds=9.0)
    np.testing.assert_allclose(rows_of(answers), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("kind", STOCK)
def test_probabilities_equal_the_stock_pipelines(stock_folder, kind):
    folder = stock_folder(kind)
    # Whisper hears 3 s here, the spectrogram transformer 0.6 s: some sounds are cut.
    waveforms = noises([0.3, 1.2, 4.0, 0.7, 0.7])
    classifier = load_classifier(str(folder))
    probabilities = torch.from_numpy(rows_of(compute_stream(classifier, sounds_of(waveforms)))).softmax(-1)
    stock = pipeline("audio-classification", model=str(folder))
    for row, waveform in zip(probabilities, waveforms, strict=True):
        expected = {answer["label"]: answer["score"] for answer in stock(waveform, top_k=None)}
        for index, label in enumerate(classifier.label_names):
            assert row[index].item() == pytest.approx(expected[label], abs=1e-5)


def test_rows_may_have_several_axes(make_classifier):
    def layer_means(model, inputs):
        states, _ = model.encode(**inputs)
        return torch.stack([state.mean(dim=1) for state in states], dim=1)

    classifier = make_classifier()
    waveforms = noises([0.5, 0.5, 0.5])
    answers = list(compute_stream(classifier, sounds_of(waveforms), compute=layer_means))
    assert [row.shape for _, row in answers] == [(4, 32)] * 3  # the embedding output and three layers
    assert not np.allclose(answers[0][1], answers[1][1])
    assert all(row.base is None for _, row in answers)  # a row that is kept does not keep its batch


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["whisper", "wavlm"])
def test_lower_precision_is_near_and_leaves_the_model_as_it_was(make_classifier, dtype, family):
    classifier = make_classifier(family)
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    sounds = sounds_of(noises([0.5, 0.9]))
    exact = rows_of(compute_stream(classifier, sounds))
    ready = ready_classifier(classifier, dtype=dtype, device="cpu")
    assert ready.model.dtype == DTYPES[dtype]
    rounded = rows_of(compute_stream(ready, sounds))
    np.testing.assert_array_equal(rounded, rows_of(compute_stream(classifier, sounds, dtype=dtype)))
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    assert all(torch.equal(value, before[name]) for name, value in classifier.model.state_dict().items())


def test_classifier_is_not_copied_when_nothing_changes(make_classifier):
    classifier = make_classifier()
    assert ready_classifier(classifier, dtype="float32", device="cpu") is classifier


def test_float16_is_refused_when_the_processor_has_no_such_operation(make_classifier, monkeypatch):
    classifier = make_classifier()
    layer_norm = torch.nn.functional.layer_norm

    def without_half(values, *arguments, **options):
        if values.dtype == torch.float16:
            raise RuntimeError("\"LayerNormKernelImpl\" not implemented for 'Half'")
        return layer_norm(values, *arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "layer_norm", without_half)
    with pytest.raises(ArgumentsError, match=r"dtype: this model cannot compute in float16 on a CPU .*Use bfloat16"):
        compute_stream(classifier, [], dtype="float16")


# ----------------------------------------------------------------------------------------------------------------------
# Batches and memory
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch_shapes(monkeypatch):
    """Record (clips, samples) of every batch that reaches a model."""

    def record(model):
        seen, forward = [], model.forward

        def recording(**inputs):
            seen.append(tuple(next(iter(inputs.values())).shape[:2]))
            return forward(**inputs)

        monkeypatch.setattr(model, "forward", recording)
        return seen

    return record


def test_batches_keep_to_the_limits_and_hold_little_padding(make_classifier, batch_shapes):
    classifier = make_classifier()
    seconds = np.random.default_rng(5).uniform(0.1, 1.0, 120)
    waveforms = noises(seconds)
    shapes = batch_shapes(classifier.model)
    list(compute_stream(classifier, sounds_of(waveforms), max_batch_seconds=4.0, num_workers=2))
    assert sum(count for count, _ in shapes) == 120
    assert all(count * samples <= 4.0 * 16_000 for count, samples in shapes)
    padded = sum(count * samples for count, samples in shapes) / sum(map(len, waveforms))
    assert padded < 1.15  # in the order of the sounds, batches of 4 s are padded to 1.6 times their length
    assert len(shapes) <= 1.3 * sum(seconds) / 4.0  # and nearly all batches are full
    shapes.clear()
    list(compute_stream(classifier, sounds_of(waveforms), max_batch_seconds=4.0, max_batch_sounds=3))
    assert max(count for count, _ in shapes) == 3


def test_batches_do_not_depend_on_time(make_classifier, batch_shapes):
    classifier = make_classifier()
    waveforms = noises(np.random.default_rng(5).uniform(0.1, 0.5, 40))
    shapes = batch_shapes(classifier.model)
    list(compute_stream(classifier, sounds_of(waveforms), max_batch_seconds=1.0, num_workers=0))
    without_threads = list(shapes)
    shapes.clear()
    delays = np.random.default_rng(6).uniform(0, 0.01, 40)

    def load(at):
        time.sleep(delays[at])
        return waveforms[at]

    sounds = [Sound(at, lambda at=at: load(at)) for at in range(40)]
    list(compute_stream(classifier, sounds, max_batch_seconds=1.0, num_workers=3))
    assert shapes == without_threads


def test_stock_sounds_share_a_batch_only_when_their_shapes_are_equal(stock_folder, batch_shapes):
    for kind, expected in (("wav2vec2", [(1, 4800), (1, 6400), (2, 8000)]), ("whisper", [(4, 16)])):
        classifier = load_classifier(str(stock_folder(kind)))
        shapes = batch_shapes(classifier.model)
        list(compute_stream(classifier, sounds_of(noises([0.5, 0.3, 0.4, 0.5])), max_batch_seconds=12.0))
        assert sorted(shapes) == expected  # 12 s hold four of the 3 s that this Whisper's extractor pads to


def test_memory_is_bounded_however_many_sounds_there_are(make_classifier):
    classifier = make_classifier()
    lock, living, most = threading.Lock(), [0], [0]

    def load():
        waveform = np.full(8_000, 0.1, dtype=np.float32)
        with lock:
            living[0] += 1
            most[0] = max(most[0], living[0])
        weakref.finalize(waveform, gone)
        return waveform

    def gone():
        living[0] -= 1

    asked = [0]

    def sounds():
        for at in range(100):
            asked[0] = at + 1
            yield Sound(at, load)

    answers = compute_stream(classifier, sounds(), max_batch_seconds=1.0, num_workers=2)
    next(answers)
    # Before the first is computed three batches of two sounds are prepared, with four batches in the pool for the
    # last of them, and three sounds are loaded ahead.
    assert asked[0] <= 2 * 2 + 4 * 2 + 3
    assert len(list(answers)) == 99
    gc.collect()
    assert living[0] == 0
    # Eight batches of two sounds wait, three are computed or prepared ahead, and three sounds are loaded ahead.
    assert 8 < most[0] <= (8 + 3) * 2 + 3


def test_answer_waits_for_no_sound_after_its_own_for_long(make_classifier):
    asked = []

    def sounds():
        for at, waveform in enumerate(noises([0.1] + [0.5] * 60)):
            asked.append(at)
            yield Sound(at, lambda waveform=waveform: waveform)

    answers = compute_stream(make_classifier(), sounds(), max_batch_seconds=1.0, num_workers=0)
    # The short first one fits in with none of the others, and still is not put off until they are done.
    assert next(answers)[0] == 0
    assert len(asked) < 20
    answers.close()


def test_long_sound_does_not_stay_in_memory_when_it_is_cut(make_classifier):
    classifier = make_classifier(max_seconds=1.0, padding_seconds=1.0)
    whole = []

    def load():
        waveform = np.zeros(160_000, dtype=np.float32)
        whole.append(weakref.ref(waveform))
        return waveform

    living = []

    def compute(model, inputs):
        living.extend(reference() is not None for reference in whole)
        return model(**inputs).logits

    list(compute_stream(classifier, [Sound(at, load) for at in range(3)], compute=compute, num_workers=0))
    assert living == [False] * 3


# ----------------------------------------------------------------------------------------------------------------------
# Order, errors, and the end
# ----------------------------------------------------------------------------------------------------------------------


def test_errors_stand_in_their_sounds_place_and_the_rest_goes_on(make_classifier):
    def damaged():
        raise AudioError("1: damaged.")

    def vanished():
        raise FileNotFoundError(2, "No such file or directory")

    sounds = sounds_of(noises([0.5, 0.1, 0.9, 0.1, 0.2]))
    expected = rows_of(compute_stream(make_classifier(), [sounds[0], sounds[2], sounds[4]]))
    sounds[1], sounds[3] = Sound(1, damaged), Sound(3, vanished)
    answers = list(compute_stream(make_classifier(), sounds, max_batch_seconds=1.0, num_workers=2))
    assert [key for key, _ in answers] == [0, 1, 2, 3, 4]
    assert [str(answers[at][1]) for at in (1, 3)] == ["1: damaged.", "3: No such file or directory."]
    assert all(isinstance(answers[at][1], AudioError) for at in (1, 3))
    np.testing.assert_allclose(np.stack([answers[at][1] for at in (0, 2, 4)]), expected, atol=1e-5)


def test_other_errors_end_the_stream_and_its_threads(make_classifier):
    def defective():
        raise ZeroDivisionError

    sounds = [*sounds_of(noises([0.2] * 3)), Sound("x", defective)]
    with pytest.raises(ZeroDivisionError):
        list(compute_stream(make_classifier(), sounds, num_workers=2))
    assert not threads_of_streams()


def test_batch_that_does_not_fit_says_what_to_lower(make_classifier):
    def compute(model, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …")

    with pytest.raises(
        ArgumentsError, match=r"max_batch_seconds: a batch of 2 sounds of up to 0\.5 s .* of cpu\. Lower"
    ):
        list(compute_stream(make_classifier(), sounds_of(noises([0.5, 0.2])), compute=compute))
    assert not threads_of_streams()


@pytest.mark.parametrize("kind", ["wav2vec2", "audio-spectrogram-transformer"])
def test_sound_too_short_for_a_stock_model_is_an_error_of_its_own(stock_folder, kind):
    classifier = load_classifier(str(stock_folder(kind)))
    waveforms = [np.full(samples, 0.1, np.float32) for samples in (399, 400, 8_000)]
    answers = list(compute_stream(classifier, sounds_of(waveforms)))
    assert str(answers[0][1]) == "0: too short for this model, 24.9 ms where it needs 25.0 ms."
    assert all(np.isfinite(row).all() for _, row in answers[1:])


def test_answers_come_while_the_source_makes_wait(make_classifier):
    answered = []

    def sounds():
        yield from sounds_of(noises([0.2, 0.4, 0.3]))
        for _ in range(30):
            if len(answered) == 3:
                break
            yield None
        # Without the pauses these three would wait for a batch of thirty seconds.
        assert answered == [0, 1, 2]
        yield Sound(3, lambda: noises([0.1])[0])

    for threads in (0, 2):
        answered.clear()
        for key, _ in compute_stream(make_classifier(), sounds(), num_workers=threads):
            answered.append(key)
        assert answered == [0, 1, 2, 3]


def test_closing_ends_the_threads_and_asks_for_no_more(make_classifier):
    asked = []

    def sounds():
        for at in range(1_000):
            asked.append(at)
            yield Sound(at, lambda: np.zeros(4_000, np.float32))

    source = sounds()
    answers = compute_stream(make_classifier(), source, max_batch_seconds=1.0, num_workers=2)
    assert next(answers)[0] == 0
    assert threads_of_streams()
    answers.close()
    assert not threads_of_streams()
    assert len(asked) < 100


def test_interrupt_ends_the_threads(make_classifier):
    def sounds():
        yield from sounds_of(noises([0.2] * 20))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(compute_stream(make_classifier(), sounds(), max_batch_seconds=0.5, num_workers=2))
    assert not threads_of_streams()


def test_no_sounds_give_no_answers(make_classifier):
    assert list(compute_stream(make_classifier(), [])) == []


def test_several_threads_compute_at_once_on_a_cpu(make_classifier):
    torch.set_num_threads(2)
    together = threading.Barrier(2, timeout=20)  # breaks unless two batches are in work at the same time

    def compute(model, inputs):
        together.wait()
        return model(**inputs).logits

    waveforms = noises([0.5] * 4)
    answers = list(compute_stream(make_classifier(), sounds_of(waveforms), compute=compute, max_batch_seconds=0.5))
    assert [key for key, _ in answers] == [0, 1, 2, 3]
    assert torch.get_num_threads() == 2


# ----------------------------------------------------------------------------------------------------------------------
# Arguments
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_batch_seconds": 0.0}, "max_batch_seconds: expected more than 0, found 0.0"),
        ({"max_batch_sounds": 0}, "max_batch_sounds: expected more than 0, found 0"),
        ({"num_workers": -1}, "num_workers: expected 0 or more, found -1"),
        ({"dtype": "int8"}, "dtype: expected one of float32, bfloat16, float16, found 'int8'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_loaded(make_classifier, arguments, message):
    with pytest.raises(ArgumentsError, match=message):
        compute_stream(make_classifier(), [], **arguments)


def test_extractor_of_another_rate_is_refused(make_classifier):
    classifier = Classifier(
        **{**vars(make_classifier()), "feature_extractor": Wav2Vec2FeatureExtractor(sampling_rate=8_000)}
    )
    with pytest.raises(ValueError, match="16000 Hz, found 8000 Hz"):
        compute_stream(classifier, [])


def test_heard_seconds_are_the_models_own_or_its_extractors(make_classifier, stock_folder):
    assert heard_seconds(make_classifier(max_seconds=2.5)) == 2.5
    assert heard_seconds(load_classifier(str(stock_folder("whisper")))) == 3.0
    # 64 frames of 25 ms, 10 ms apart.
    assert heard_seconds(load_classifier(str(stock_folder("audio-spectrogram-transformer")))) == 0.655
    assert heard_seconds(load_classifier(str(stock_folder("wav2vec2")))) is None
