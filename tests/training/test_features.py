from __future__ import annotations

import copy
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from nvv import NvvConfig
from nvv.training import features as features_module
from nvv.training.arguments import ArgumentsError
from nvv.training.collator import ClipCollator
from nvv.training.dataset import ClipDataset
from nvv.training.feature_pass import FeaturePass
from nvv.training.features import FeatureCacheError, compute_features, default_features_dir

MAX_SECONDS = 0.5
LENGTHS = [0.31, 0.12, 0.8, 0.02, 0.5]  # one is longer than MAX_SECONDS, one shorter than a frame of 25 ms
FIELDS = {"num_labels": 3, "max_seconds": MAX_SECONDS, "padding_seconds": 0.7}


def extractor(*, do_normalize=True):
    return Wav2Vec2FeatureExtractor(
        feature_size=1,
        sampling_rate=16_000,
        padding_value=0.0,
        do_normalize=do_normalize,
        return_attention_mask=True,
    )


@pytest.fixture
def clips(make_split):
    """Five training and two test clips."""
    return {
        "train": ClipDataset(make_split(LENGTHS), max_seconds=MAX_SECONDS),
        "test": ClipDataset(make_split([0.2, 0.45], seed=1), max_seconds=MAX_SECONDS),
    }


@pytest.fixture
def whisper(tiny_model, tiny_backbone_config):
    """A tiny Whisper classifier."""
    return tiny_model(tiny_backbone_config("whisper"), **FIELDS)


@pytest.fixture
def count_batches(monkeypatch):
    """Counts the batches that the encoder computes."""
    sizes = []
    encode = FeaturePass._encode

    def counting(self, inputs):
        sizes.append(len(inputs["input_values"]))
        return encode(self, inputs)

    monkeypatch.setattr(FeaturePass, "_encode", counting)
    return sizes


def compute(model, clips, tmp_path, *, feature_extractor=None, **options):
    options = {"cache_dir": tmp_path / "cache", "disable_tqdm": True, "num_workers": 1, **options}
    return compute_features(model, feature_extractor or extractor(), clips, **options)


def live(model, clips, *, feature_extractor=None):
    """What the live model's head pools, one clip after the other, and the logits, all clips in one batch."""
    collator = ClipCollator(feature_extractor or extractor())
    members = [clips[index] for index in range(len(clips))]
    with torch.no_grad():
        pooled = []
        for clip in members:
            batch = collator([clip])
            pooled.append(model.head.pool(*model.encode(batch["input_values"], batch["attention_mask"])))
        return torch.cat(pooled), model(**collator(members)).logits


PADDINGS = {
    "mask": {},
    "silence": {"padding": "silence"},
    "silence pooled": {"padding": "silence", "pool_padding": True},
}
HEADS = {
    "weighted sum": {},
    "some layers": {"layers": [3, 0]},
    "last layer": {"use_weighted_layer_sum": False},
    "inner layer": {"use_weighted_layer_sum": False, "layers": [1]},
    "mlp on the last layer": {"use_weighted_layer_sum": False, "head": "mlp"},
    "first frame": {"pooling": "first"},
    "last frame": {"pooling": "last"},
}
HEADS_ON_SILENCE = ("weighted sum", "last layer", "last frame")


@pytest.mark.parametrize("padding", PADDINGS)
def test_features_give_the_logits_of_the_live_model_in_every_family(
    every_backbone_config, tiny_model, clips, tmp_path, padding
):
    whole = tiny_model(every_backbone_config, **FIELDS, **PADDINGS[padding])
    by_pooling = {"mean": compute(whole, clips, tmp_path)}
    for name in HEADS if padding == "mask" else HEADS_ON_SILENCE:
        fields = HEADS[name]
        model = tiny_model(every_backbone_config, **FIELDS, **PADDINGS[padding], **fields)
        model.backbone.load_state_dict(whole.backbone.state_dict())
        pooling = model.config.pooling
        if pooling not in by_pooling:
            by_pooling[pooling] = compute(model, clips, tmp_path)
        for split, dataset in clips.items():
            pooled, logits = live(model, dataset)
            selected = by_pooling[pooling].select(split, model.config)
            assert selected.dtype == torch.float32
            torch.testing.assert_close(selected, pooled, atol=1e-4, rtol=1e-4, msg=f"{name}, {split}")
            with torch.no_grad():
                torch.testing.assert_close(
                    model.head.forward_pooled(selected), logits, atol=1e-4, rtol=0, msg=f"{name}, {split}"
                )
    # Contract 3 says nothing if all clips sound the same to the model.
    assert logits.std(dim=0).max() > 1e-3


def test_features_of_a_model_that_sums_few_layers_serve_all_layers(whisper, tiny_model, clips, tmp_path, count_batches):
    config = whisper.config
    few = tiny_model(config.backbone_config, **FIELDS, layers=[1])
    few.backbone.load_state_dict(whisper.backbone.state_dict())
    selected = compute(few, clips, tmp_path).select("train", config)
    assert selected.shape == (5, 4, 32)  # the embedding output and three layers
    computed = len(count_batches)
    assert torch.equal(compute(whisper, clips, tmp_path).select("train", config), selected)
    assert len(count_batches) == computed


def test_features_are_read_and_nothing_is_written_when_the_cache_has_all(whisper, clips, tmp_path, monkeypatch):
    first = compute(whisper, clips, tmp_path)
    assert (first.num_clips, first.num_computed) == (7, 7)

    def refuse(*arguments, **options):
        raise AssertionError("a read-only cache was written to")

    monkeypatch.setattr("nvv.training.features.FeatureCache.acquire", refuse)
    monkeypatch.setattr("nvv.training.features.FeatureCache.write", refuse)
    second = compute(whisper, clips, tmp_path)
    assert (second.num_clips, second.num_computed) == (7, 0)
    for split in clips:
        assert torch.equal(second.select(split, whisper.config), first.select(split, whisper.config))


def test_features_of_new_clips_only_are_computed_when_splits_change(
    whisper, make_split, clips, tmp_path, count_batches
):
    compute(whisper, {"train": clips["train"]}, tmp_path)
    del count_batches[:]
    # Another protocol of the same corpus: two of the five clips, in another order, and one that is new.
    both = {
        "a": ClipDataset(make_split(LENGTHS).select([4, 1]), max_seconds=MAX_SECONDS),
        "b": ClipDataset(make_split([0.25], seed=9), max_seconds=MAX_SECONDS),
    }
    mixed = compute(whisper, both, tmp_path)
    assert sum(count_batches) == mixed.num_computed == 1
    expected, _ = live(whisper, clips["train"])
    torch.testing.assert_close(mixed.select("a", whisper.config), expected[[4, 1]], atol=1e-4, rtol=1e-4)


def test_features_are_computed_once_when_clips_are_the_same(whisper, make_split, tmp_path, count_batches):
    split = make_split([0.2, 0.3])
    clips = {
        "train": ClipDataset(split.select([0, 1, 0]), max_seconds=MAX_SECONDS),
        "test": ClipDataset(split.select([1]), max_seconds=MAX_SECONDS),
    }
    features = compute(whisper, clips, tmp_path)
    assert sum(count_batches) == features.num_computed == features.num_clips == 2
    train, test = features.select("train", whisper.config), features.select("test", whisper.config)
    assert torch.equal(train[0], train[2])
    assert torch.equal(train[1], test[0])
    assert not torch.equal(train[0], train[1])


def test_features_do_not_depend_on_the_batches(whisper, clips, tmp_path, count_batches):
    alone = compute(whisper, clips, tmp_path / "a", max_batch_seconds=0.01)
    assert count_batches == [1] * 7
    del count_batches[:]
    together = compute(whisper, clips, tmp_path / "b", max_batch_seconds=100.0)
    assert count_batches == [7]
    for split in clips:
        torch.testing.assert_close(
            alone.select(split, whisper.config), together.select(split, whisper.config), atol=1e-5, rtol=1e-4
        )


def test_features_are_of_the_start_of_a_clip_when_training_crops_at_random(whisper, make_split, clips, tmp_path):
    cropping = ClipDataset(make_split(LENGTHS), max_seconds=MAX_SECONDS, random_crops=True, seed=3)
    assert not np.array_equal(cropping[(2, 1)]["input_values"], clips["train"][2]["input_values"])
    features = compute(whisper, {"train": cropping}, tmp_path)
    torch.testing.assert_close(
        features.select("train", whisper.config), live(whisper, clips["train"])[0], atol=1e-4, rtol=1e-4
    )


def test_features_are_found_by_content_when_cells_hold_paths(whisper, make_split, clips, tmp_path, count_batches):
    features = compute(whisper, clips, tmp_path)
    del count_batches[:]
    on_disk = copy.copy(clips["train"])
    cells = [on_disk.encoded(at) for at in range(len(on_disk))]
    for at, cell in enumerate(cells):
        (tmp_path / f"{at}.wav").write_bytes(cell["bytes"])
    on_disk.encoded = lambda at: {"bytes": None, "path": str(tmp_path / f"{at}.wav")}
    again = compute(whisper, {"train": on_disk}, tmp_path)
    assert count_batches == []
    assert torch.equal(again.select("train", whisper.config), features.select("train", whisper.config))
    (tmp_path / "0.wav").unlink()
    with pytest.raises(ValueError, match=r"000\.wav: its cell holds no bytes"):
        compute(whisper, {"train": on_disk}, tmp_path)


def test_features_of_other_normalisation_are_kept_apart(tiny_model, tiny_backbone_config, clips, tmp_path):
    model = tiny_model(tiny_backbone_config("wav2vec2", "pre_norm"), **FIELDS)
    for do_normalize in (True, False):
        chosen = extractor(do_normalize=do_normalize)
        features = compute(model, clips, tmp_path, feature_extractor=chosen)
        assert features.num_computed == 7
        expected, _ = live(model, clips["train"], feature_extractor=chosen)
        torch.testing.assert_close(features.select("train", model.config), expected, atol=1e-4, rtol=1e-4)


def test_model_is_left_as_it_was_when_it_trains(tiny_model, tiny_backbone_config, clips, tmp_path):
    whisper = tiny_model(tiny_backbone_config("whisper", dropout=0.5), **FIELDS).train()
    whisper.backbone.layers[1].eval()
    modes = {name: module.training for name, module in whisper.named_modules()}
    weights = {name: weight.clone() for name, weight in whisper.state_dict().items()}
    config = whisper.config.to_dict()
    reference = copy.deepcopy(whisper).eval()
    exact = compute(whisper, clips, tmp_path)
    compute(whisper, clips, tmp_path, bf16=True)
    assert {name: module.training for name, module in whisper.named_modules()} == modes
    assert whisper.config.to_dict() == config
    for name, weight in whisper.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, weights[name])
    # And dropout was off meanwhile.
    expected, _ = live(reference, clips["train"])
    torch.testing.assert_close(exact.select("train", whisper.config), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "variant"), [("whisper", "pre_norm"), ("wav2vec2", "post_norm"), ("wavlm", "pre_norm")]
)
def test_bf16_features_are_near_and_kept_apart(tiny_model, tiny_backbone_config, clips, tmp_path, family, variant):
    model = tiny_model(tiny_backbone_config(family, variant), **FIELDS)
    exact = compute(model, clips, tmp_path)
    rough = compute(model, clips, tmp_path, bf16=True)
    assert rough.num_computed == 7
    assert rough.folder != exact.folder
    expected, found = exact.select("train", model.config), rough.select("train", model.config)
    assert found.dtype == torch.float32
    error = (found - expected).norm() / expected.norm()
    assert 1e-5 < error < 0.05  # bfloat16 keeps 8 bits: 0.4 % a rounding
    # Pooled in float32: the means are no bfloat16 numbers.
    assert not torch.equal(found, found.bfloat16().float())


def test_features_are_refused_when_the_pooling_does_not_commute(
    tiny_model, tiny_backbone_config, whisper, clips, tmp_path
):
    model = tiny_model(tiny_backbone_config("whisper"), **FIELDS, pooling="max")
    with pytest.raises(ArgumentsError, match=r"^pooling: expected one of mean, first, last .* found 'max'"):
        compute(model, clips, tmp_path)
    features = compute(whisper, clips, tmp_path)
    with pytest.raises(ArgumentsError, match=r"^pooling: "):
        features.select("train", model.config)
    with pytest.raises(KeyError, match="validation"):
        features.select("validation", whisper.config)


def test_arguments_are_refused_when_they_do_not_fit(whisper, make_split, clips, tmp_path):
    with pytest.raises(ArgumentsError, match=r"max_seconds: the clips of long are cut to 2\.0 s, the model"):
        compute(whisper, {"long": ClipDataset(make_split([0.2]), max_seconds=2.0)}, tmp_path)
    with pytest.raises(ArgumentsError, match="max_batch_seconds: expected more than 0, found 0"):
        compute(whisper, clips, tmp_path, max_batch_seconds=0)
    with pytest.raises(ArgumentsError, match="num_workers: expected 0 or more, found -1"):
        compute(whisper, clips, tmp_path, num_workers=-1)


def test_error_names_the_clip_when_its_features_are_not_finite(whisper, clips, tmp_path, monkeypatch):
    encode = FeaturePass._encode

    def break_the_second_batch(self, inputs):
        features = encode(self, inputs)
        return features * float("inf") if inputs["input_values"].shape[1] == round(0.31 * 16_000) else features

    monkeypatch.setattr(FeaturePass, "_encode", break_the_second_batch)
    with pytest.raises(ValueError, match=r"000\.wav: the backbone's features of this clip are not finite"):
        compute(whisper, clips, tmp_path, max_batch_seconds=0.01)
    monkeypatch.undo()
    # 0.5, 0.5 (cut), 0.45 and then 0.31 s: the three longer ones are kept.
    assert compute(whisper, clips, tmp_path).num_computed == 4


def test_error_names_the_clip_when_it_cannot_be_decoded(whisper, clips, tmp_path):
    broken = copy.copy(clips["test"])
    cells = [broken.encoded(at) for at in range(len(broken))]
    cells[1] = {"bytes": b"no sound", "path": None}
    broken.encoded = cells.__getitem__
    with pytest.raises(ValueError, match=r"^001\.wav: "):
        compute(whisper, {"test": broken}, tmp_path)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_interrupted_pass_goes_on_where_it_stopped(whisper, clips, tmp_path, monkeypatch, num_workers):
    complete = compute(whisper, clips, tmp_path / "complete")
    encode = FeaturePass._encode
    batches = []

    def interrupted_in_the_fourth_batch(self, inputs):
        batches.append(inputs)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return encode(self, inputs)

    monkeypatch.setattr(FeaturePass, "_encode", interrupted_in_the_fourth_batch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # one batch after another
    with pytest.raises(KeyboardInterrupt):
        compute(whisper, clips, tmp_path, max_batch_seconds=0.01, num_workers=num_workers)
    second = compute(whisper, clips, tmp_path, max_batch_seconds=0.01, num_workers=num_workers)
    assert second.num_computed == 7 - 3
    assert len(batches) == 4 + 4
    for split in clips:
        selected = second.select(split, whisper.config)
        torch.testing.assert_close(selected, complete.select(split, whisper.config), atol=1e-5, rtol=1e-4)


def test_damaged_shard_is_computed_again_when_a_run_meets_it(whisper, clips, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(features_module, "_SHARD_CLIPS", 2)
    before = compute(whisper, clips, tmp_path, max_batch_seconds=0.01)
    shards = sorted(before.folder.glob("*.safetensors"))
    assert len(shards) == 4  # 7 clips, 2 in each but the last
    reference = {split: before.select(split, whisper.config) for split in clips}
    full = next(shard for shard in shards if shard.stat().st_size > 1_000)
    with full.open("r+b") as file:
        file.truncate(full.stat().st_size - 100)
    with caplog.at_level(logging.WARNING):
        after = compute(whisper, clips, tmp_path, max_batch_seconds=0.01)
    assert after.num_computed in (1, 2)
    assert f"{full}: left out" in caplog.text
    for split in clips:
        torch.testing.assert_close(after.select(split, whisper.config), reference[split], atol=1e-5, rtol=1e-4)
    caplog.clear()
    assert compute(whisper, clips, tmp_path).num_computed == 0
    assert caplog.text == ""


def test_error_names_the_folder_when_it_cannot_be_written(whisper, clips, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(FeatureCacheError, match=r"features_cache_dir: .*cache.* cannot be written \(Not a directory\)"):
        compute(whisper, clips, tmp_path)


def test_error_says_so_when_stored_features_vanish(whisper, clips, tmp_path, monkeypatch):
    monkeypatch.setattr("nvv.training.features.FeatureCache.write", lambda *arguments: "gone.safetensors")
    with pytest.raises(FeatureCacheError, match="lacks 7 clips that were just written"):
        compute(whisper, clips, tmp_path)


def test_progress_counts_clips_unless_disabled(whisper, clips, tmp_path, capsys):
    compute(whisper, clips, tmp_path)
    assert capsys.readouterr().err == ""
    shutil.rmtree(tmp_path / "cache")
    compute(whisper, clips, tmp_path, disable_tqdm=False)
    assert "Computing features: 100%" in (shown := capsys.readouterr().err)
    assert "7/7" in shown


def test_default_folder_is_in_the_home_of_hugging_face(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", os.path.join("some", "home"))
    assert default_features_dir() == Path("some/home/nvv/features")


def test_selected_features_are_a_copy(whisper, clips, tmp_path):
    features = compute(whisper, clips, tmp_path)
    first = features.select("test", whisper.config)
    expected = first.clone()
    first.zero_()
    assert torch.equal(features.select("test", whisper.config), expected)


@pytest.mark.parametrize(
    "change",
    [{"padding": "silence"}, {"max_seconds": 0.4}, {"random_init_seed": 5}, {"backbone_id": "other"}],
    ids=lambda change: next(iter(change)),
)
def test_features_are_refused_when_the_head_belongs_to_other_settings(whisper, clips, tmp_path, change):
    features = compute(whisper, clips, tmp_path)
    fields = {"num_labels": 3, "max_seconds": MAX_SECONDS, "padding_seconds": 0.7, **change}
    other = NvvConfig(backbone_config=whisper.config.backbone_config, **fields)
    with pytest.raises(ArgumentsError, match=f"^{next(iter(change))}: the features were computed with"):
        features.select("train", other)


@pytest.mark.parametrize("index", [0, 1])
def test_error_of_the_main_process_is_raised_in_all(monkeypatch, index):
    error = FeatureCacheError("features_cache_dir: full")
    sent = []

    def broadcast(answer, from_process):
        sent.append(answer[1])
        return answer if index == 0 else [None, error]

    def ask():
        assert index == 0
        raise error

    monkeypatch.setattr(features_module, "broadcast_object_list", broadcast)
    processes = features_module._Processes(SimpleNamespace(num_processes=2, process_index=index, device=None))
    with pytest.raises(FeatureCacheError, match="features_cache_dir: full"):
        processes.from_main(ask)
    assert sent == [error if index == 0 else None]


def test_run_says_that_it_waits_and_then_reads_what_the_other_computed(
    whisper, clips, tmp_path, monkeypatch, caplog, count_batches
):
    acquire = features_module.FeatureCache.acquire
    asked = []

    def held_by_another_run_at_first(self, *, timeout_s):
        asked.append(timeout_s)
        if len(asked) == 1:
            with monkeypatch.context() as other:
                other.setattr("nvv.training.features.FeatureCache.acquire", acquire)
                compute(whisper, clips, tmp_path)
            return False
        return acquire(self, timeout_s=timeout_s)

    monkeypatch.setattr(features_module.FeatureCache, "acquire", held_by_another_run_at_first)
    features = compute(whisper, clips, tmp_path)
    assert len(asked) == 2
    assert "another run is computing features of this kind; waiting for it" in caplog.text
    assert features.num_computed == 0
    assert sum(count_batches) == 7
