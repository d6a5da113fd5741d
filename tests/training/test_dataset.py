from __future__ import annotations

import pickle

import datasets
import numpy as np
import pyarrow
import pytest
import torch

from nvv.audio import AudioError
from nvv.data.augmentation import Augmentation
from nvv.training.dataset import ClipDataset, class_balancing_weights, evenly_taken
from nvv.training.tasks import TaskSpec

LABELS = ("laugh", "sigh", "cough")


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


AUGMENT = {"noise": {"probability": 0.9}, "babble": {"probability": 0.9}, "speed": {"probability": 0.9}, "shift": {}}


def _augmented(split, **options):
    options = {"max_seconds": 0.5, "random_crops": True, "seed": 3, **options}
    return ClipDataset(split, augmentation=Augmentation(AUGMENT), mixup_alpha=0.4, **options)


def _content(clip):
    return clip["input_values"].tobytes(), clip["labels"], clip["mixed_targets"], clip["mixing_weights"]


def test_augmented_clips_depend_on_seed_epoch_and_index_only(make_split):
    split = make_split([0.3, 2.0, 0.4, 0.2], labels=[0, 1, 2, 0])
    kept, not_kept = _augmented(split, memory_mebibytes=10), pickle.loads(pickle.dumps(_augmented(split)))
    keys = [(index, epoch) for epoch in (0, 1) for index in range(4)]
    forwards = {key: _content(kept[key]) for key in keys}
    backwards = {key: _content(not_kept[key]) for key in reversed(keys)}
    assert forwards == backwards
    assert {key: _content(kept[key]) for key in keys} == forwards
    assert len({content[0] for content in forwards.values()}) == len(keys)
    other_seed = _augmented(split, seed=4)
    assert not {_content(other_seed[key])[0] for key in keys} & {content[0] for content in forwards.values()}


def test_transforms_and_partners_are_drawn_anew_in_every_epoch(make_split):
    split = make_split([0.3, 0.4])
    noisy = ClipDataset(split, max_seconds=1.0, augmentation=Augmentation({"noise": {"probability": 1}}))
    mixed = ClipDataset(make_split([0.3] * 2), max_seconds=1.0, mixup_alpha=1.0)
    for dataset in (noisy, mixed):
        for index in (0, 1):
            assert len({dataset[(index, epoch)]["input_values"].tobytes() for epoch in range(4)}) == 4


def test_augmented_clips_are_the_same_when_workers_make_them(make_split):
    dataset = _augmented(make_split([0.3, 0.9, 0.4, 0.2]))
    keys = [(index, epoch) for epoch in (0, 3) for index in range(4)]

    def load(num_workers):
        loader = torch.utils.data.DataLoader(
            dataset, sampler=keys, batch_size=2, num_workers=num_workers, collate_fn=list
        )
        return [_content(clip) for clips in loader for clip in clips]

    assert load(0) == load(2)


def test_kept_clips_are_never_changed(make_split):
    split = make_split([0.3, 0.8, 0.4])
    dataset = ClipDataset(
        split,
        max_seconds=0.5,
        memory_mebibytes=10,
        mixup_alpha=1.0,
        augmentation=Augmentation({name: {"probability": 1} for name in ("noise", "babble", "gain", "telephone")}),
    )
    dataset.check_audio()
    before = [dataset._decoded(index).copy() for index in range(3)]
    for epoch in range(5):
        for index in range(3):
            dataset[(index, epoch)]
    for index, waveform in enumerate(before):
        np.testing.assert_array_equal(dataset._decoded(index), waveform)
        np.testing.assert_array_equal(dataset.from_start(index), waveform[:8_000])


def test_augmented_clips_stay_below_the_maximum_though_speed_and_shift_lengthen_them(make_split):
    longer = Augmentation(
        {"speed": {"probability": 1, "factor": 0.5}, "shift": {"probability": 1, "seconds": [-0.4, 0.4]}}
    )
    for random_crops in (False, True):
        dataset = ClipDataset(
            make_split([0.1, 0.5, 3.0]), max_seconds=0.5, random_crops=random_crops, augmentation=longer
        )
        for epoch in range(4):
            lengths = [len(dataset[(index, epoch)]["input_values"]) for index in range(3)]
            assert 3_200 <= lengths[0] <= 8_000  # 0.1 s at half the speed, and silence
            assert lengths[1:] == [8_000, 8_000]


def test_clip_is_cropped_then_augmented(make_split):
    split = make_split([2.0])
    gain = Augmentation({"gain": {"probability": 1, "gain_db": -20}})
    plain = ClipDataset(split, max_seconds=0.5, random_crops=True, seed=3)
    softer = ClipDataset(split, max_seconds=0.5, random_crops=True, seed=3, augmentation=gain)
    for epoch in range(3):
        np.testing.assert_allclose(
            softer[(0, epoch)]["input_values"], 0.1 * plain[(0, epoch)]["input_values"], rtol=1e-5
        )
    np.testing.assert_array_equal(softer.from_start(0), plain.from_start(0))


def test_mixture_is_of_the_clip_and_another_one_in_their_shares(make_split):
    split = make_split([0.25] * 4, labels=[0, 1, 2, 1])
    plain, mixed = ClipDataset(split, max_seconds=1.0), ClipDataset(split, max_seconds=1.0, mixup_alpha=1.0)
    clips = [plain[index]["input_values"] for index in range(4)]
    partners = set()
    for epoch in range(6):
        for index in range(4):
            clip = mixed[(index, epoch)]
            share = clip["mixing_weights"]
            assert 0.5 <= share <= 1
            assert clip["labels"] == plain.labels[index]
            mixtures = [share * clips[index] + (1 - share) * partner for partner in clips]
            errors = [np.abs(clip["input_values"] - mixture).max() for mixture in mixtures]
            partner = int(np.argmin(errors))
            assert errors[partner] < 1e-6
            assert partner != index
            assert clip["mixed_targets"] == plain.labels[partner]
            partners.add((index, partner))
    assert len(partners) > 8  # of 12 pairs, in 24 draws


def test_mixture_of_tasks_has_the_partners_columns(make_split):
    values = [0.5, None, 0.25]
    split = make_split([0.2] * 3, labels=[0, 1, 2]).add_column("arousal", values)
    tasks = (
        TaskSpec(name="affect", kind="regression", outputs=("arousal",), columns=("arousal",), loss="ccc"),
        TaskSpec(name="type", kind="classification", outputs=LABELS, columns=("label",), loss="cross_entropy"),
    )
    dataset = ClipDataset(split, max_seconds=1.0, tasks=tasks, mixup_alpha=1.0)
    for index in range(3):
        clip = dataset[index]
        assert (clip["mixed_targets"].dtype, clip["mixed_targets"].shape) == (np.float32, (2,))
        rows = [np.array_equal(clip["mixed_targets"], row, equal_nan=True) for row in dataset.labels]
        assert rows.index(True) != index


def test_nothing_is_drawn_without_mixup(make_split):
    assert ClipDataset(make_split([0.2]), max_seconds=1.0)[0].keys() == {"input_values", "labels"}


@pytest.mark.parametrize("options", [{"mixup_alpha": 0.4}, {"augmentation": Augmentation({"babble": {}})}])
def test_single_clip_with_mixup_or_babble_is_an_error(make_split, options):
    with pytest.raises(ValueError, match="expected at least two clips for mixup or babble, found one"):
        ClipDataset(make_split([1.0]), max_seconds=1.0, **options)
