from __future__ import annotations

import pickle

import datasets
import numpy as np
import pyarrow
import pytest

from nvv.audio import AudioError
from nvv.training.dataset import ClipDataset, class_balancing_weights, evenly_taken


def test_clip_holds_the_whole_waveform_and_label_when_it_is_short(make_split):
    clip = ClipDataset(make_split([0.5, 0.25]), max_seconds=1.0)[1]
    assert clip["input_values"].shape == (4_000,)  # 0.25 s · 16,000 Hz
    assert clip["input_values"].dtype == np.float32
    assert clip["labels"] == 1


def test_clip_is_cut_from_the_start_when_evaluated(make_split):
    split = make_split([1.0])
    whole = ClipDataset(split, max_seconds=2.0)[0]["input_values"]
    cut = ClipDataset(split, max_seconds=0.5)[0]["input_values"]
    np.testing.assert_array_equal(cut, whole[:8_000])


def test_clip_is_cut_from_the_start_when_asked_though_it_is_for_training(make_split):
    split = make_split([1.0])
    dataset = ClipDataset(split, max_seconds=0.5, random_crops=True, seed=3)
    assert dataset.max_seconds == 0.5
    whole = ClipDataset(split, max_seconds=2.0)[0]["input_values"]
    np.testing.assert_array_equal(dataset.from_start(0), whole[:8_000])
    assert dataset.encoded(0)["bytes"] == split.data.column("audio")[0].as_py()["bytes"]


def test_crops_differ_between_epochs_and_clips_when_random(make_split):
    dataset = ClipDataset(make_split([2.0, 2.0], labels=[0, 0]), max_seconds=0.5, random_crops=True, seed=3)
    first = [dataset[(0, epoch)]["input_values"] for epoch in range(5)]
    assert len({crop.tobytes() for crop in first}) == 5
    whole = ClipDataset(make_split([2.0, 2.0], labels=[0, 0]), max_seconds=2.0)[0]["input_values"]
    windows = np.lib.stride_tricks.sliding_window_view(whole, 8_000)
    assert all((windows == crop).all(axis=1).any() for crop in first)


def test_crops_are_the_same_when_asked_in_another_order_or_process(make_split):
    split = make_split([2.0] * 4)
    one = ClipDataset(split, max_seconds=0.5, random_crops=True, seed=3, memory_mebibytes=10)
    other = pickle.loads(pickle.dumps(ClipDataset(split, max_seconds=0.5, random_crops=True, seed=3)))
    forwards = [one[(at, 7)]["input_values"] for at in (0, 1, 2, 3)]
    backwards = [other[(at, 7)]["input_values"] for at in (3, 2, 1, 0)]
    for left, right in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(left, right)


def test_crops_differ_when_the_seed_does(make_split):
    split = make_split([2.0])
    one, two = (ClipDataset(split, max_seconds=0.5, random_crops=True, seed=seed)[(0, 0)] for seed in (1, 2))
    assert not np.array_equal(one["input_values"], two["input_values"])


def test_lengths_are_capped_samples(make_split):
    assert ClipDataset(make_split([0.5, 3.0]), max_seconds=1.0).lengths == [8_000, 16_000]


def test_memory_is_bounded_when_clips_are_kept(make_split, monkeypatch):
    decoded = []
    original = ClipDataset.__getitem__.__globals__["decode_audio"]
    monkeypatch.setattr(
        "nvv.training.dataset.decode_audio", lambda *args, **options: decoded.append(1) or original(*args, **options)
    )
    dataset = ClipDataset(make_split([10.0, 10.0]), max_seconds=10.0, memory_mebibytes=1)
    # One clip is 10 · 16,000 · 4 bytes = 0.61 MiB: one of them fits into 1 MiB, not both.
    for _ in range(3):
        dataset[0], dataset[1]
    assert len(decoded) == 1 + 3


def test_kept_clips_stay_behind_when_pickled(make_split):
    dataset = ClipDataset(make_split([1.0]), max_seconds=1.0, memory_mebibytes=10)
    before = len(pickle.dumps(dataset))
    dataset[0]
    assert len(pickle.dumps(dataset)) == before


def test_split_without_labels_is_refused(make_split):
    with pytest.raises(ValueError, match="found no label among audio, file, speaker_id"):
        ClipDataset(make_split([1.0]).remove_columns("label"), max_seconds=1.0)


def test_empty_split_is_refused(make_split):
    with pytest.raises(ValueError, match="found none"):
        ClipDataset(make_split([1.0]).select([]), max_seconds=1.0)


def test_speakers_are_none_when_the_corpus_does_not_say(make_split):
    assert ClipDataset(make_split([1.0]).remove_columns("speaker_id"), max_seconds=1.0).speaker_ids is None


def test_speakers_are_none_when_one_is_not_known(make_split):
    split = make_split([1.0, 1.0]).remove_columns("speaker_id").add_column("speaker_id", ["S0", None])
    assert ClipDataset(split, max_seconds=1.0).speaker_ids is None


@pytest.mark.parametrize("missing", [None, -1])
def test_clip_without_a_label_is_named(make_split, missing):
    split = make_split([1.0, 1.0, 1.0])
    features = split.features["label"]
    split = split.remove_columns("label").add_column("label", [0, missing, missing]).cast_column("label", features)
    with pytest.raises(ValueError, match=r"2 of 3 clips have no label, the first is 001\.wav"):
        ClipDataset(split, max_seconds=1.0)


def test_damaged_clip_is_found_when_checked(make_split):
    split = make_split([0.1, 0.1])
    cells = [split[0]["audio"], {"bytes": split[1]["audio"]["bytes"][:60], "path": None}]
    audio = datasets.Dataset(pyarrow.table({"audio": cells})).cast_column("audio", datasets.Audio(decode=False))
    split = datasets.concatenate_datasets([audio, split.remove_columns("audio")], axis=1)
    with pytest.raises(AudioError, match=r"^001\.wav: "):
        ClipDataset(split, max_seconds=1.0).check_audio()


def test_taken_clips_keep_every_class_when_few(make_split):
    split = make_split([0.1] * 30, labels=[0] * 20 + [1] * 5 + [2] * 5)
    taken = evenly_taken(split, num_clips=6)
    assert len(taken) == 6
    assert set(taken["label"][:]) == {0, 1, 2}


def test_all_clips_are_taken_when_more_are_asked_for(make_split):
    assert len(evenly_taken(make_split([0.1] * 3), num_clips=5)) == 3


def test_class_weights_are_n_over_k_times_count():
    # n = 6, k = 3, counts 3, 2, 1: 6/9, 6/6, 6/3
    weights = class_balancing_weights([0, 0, 0, 1, 1, 2], label_names=["a", "b", "c"])
    assert weights == pytest.approx([2 / 3, 1.0, 2.0])


def test_class_weights_are_refused_when_a_class_has_no_clip():
    with pytest.raises(ValueError, match="none of: b"):
        class_balancing_weights([0, 0, 2], label_names=["a", "b", "c"])
