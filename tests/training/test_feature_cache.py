from __future__ import annotations

import errno
import hashlib
import logging
import os
import resource
import time

import filelock
import pytest
import torch

from nvv.training.feature_cache import FeatureCache, FeatureCacheError
from nvv.training.feature_settings import FeatureSettings

SETTINGS = FeatureSettings(values={"weights_digest": "feed", "shape": [3, 8]}, name="tiny")


def digest_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


A, B, C, D = (digest_of(name) for name in "abcd")


@pytest.fixture
def features():
    """Of four clips: three states of width 8."""
    return torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def open_cache(tmp_path):
    """Open the cache for some clips, as a process of its own would."""

    def make(*digests, settings=SETTINGS):
        return FeatureCache(tmp_path / "cache", settings, digests=digests)

    return make


def test_features_are_read_as_written(open_cache, features):
    cache = open_cache(A, B, C, D)
    assert cache.missing() == [A, B, C, D]
    cache.write([C, A], features[:2])
    cache.write([B], features[2:3])
    assert cache.missing() == [D]
    read = open_cache(B, A, C)
    assert read.missing() == []
    found = read.read([A, B, A, C], states=[2, 0])
    assert torch.equal(found, torch.stack([features[1], features[2], features[1], features[0]])[:, [2, 0]])
    with pytest.raises(KeyError):
        read.read([D], states=[0])


def test_nothing_is_made_when_only_looked_at(open_cache, tmp_path):
    assert open_cache(A).missing() == [A]
    assert open_cache().read([], states=[0, 1]).shape == (0, 2, 8)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_left_for_people_to_read(open_cache):
    cache = open_cache(A)
    assert cache.acquire(timeout_s=0)
    cache.release()
    assert (cache.folder / "settings.json").read_text() == (
        '{\n  "shape": [\n    3,\n    8\n  ],\n  "weights_digest": "feed"\n}\n'
    )


@pytest.mark.parametrize("damage", ["cut", "cut to nothing", "feature", "header"])
def test_shard_is_left_out_and_removed_when_it_is_damaged(open_cache, features, caplog, damage):
    cache = open_cache(A, B, C)
    name = cache.write([A, B], features[:2])
    cache.write([C], features[2:3])
    path = cache.folder / name
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "cut to nothing":
        os.truncate(path, 0)
    elif damage == "feature":
        content = bytearray(path.read_bytes())
        at = bytes(content).index(features[1, 1].numpy().tobytes())
        content[at + 2] ^= 0x10
        path.write_bytes(content)
    else:
        content = bytearray(path.read_bytes())
        content[12] ^= 0xFF
        path.write_bytes(content)
    again = open_cache(A, B, C)
    with caplog.at_level(logging.WARNING):
        assert again.missing() == [A, B]
        assert again.missing() == [A, B]
    assert caplog.text.count(f"{path}: left out, its clips are computed again") == 1
    assert again.acquire(timeout_s=0)
    again.release()
    assert not path.exists()
    assert torch.equal(again.read([C], states=[0, 1, 2])[0], features[2])


def test_shard_is_left_out_when_it_holds_other_settings(open_cache, features, caplog):
    other = open_cache(A, settings=FeatureSettings(values={"weights_digest": "beef", "shape": [3, 8]}, name="tiny"))
    name = other.write([A], features[:1])
    cache = open_cache(A)
    cache.folder.mkdir(parents=True)
    (other.folder / name).rename(cache.folder / name)
    assert cache.missing() == [A]
    assert "it was written with other settings" in caplog.text


def test_shard_is_left_out_when_its_features_have_another_shape(open_cache, features, caplog):
    open_cache().write([A], features[:1, :2])
    assert open_cache(A).missing() == [A]
    assert "features of the shape (1, 2, 8)" in caplog.text


def test_features_of_clips_not_asked_for_are_not_read(open_cache, features, caplog):
    cache = open_cache()
    path = cache.folder / cache.write([A, B], features[:2])
    content = bytearray(path.read_bytes())
    content[bytes(content).index(features[1, 1].numpy().tobytes())] ^= 0x10  # of B
    path.write_bytes(content)
    assert open_cache(A).missing() == []
    assert caplog.text == ""
    assert open_cache(B).missing() == [B]


def test_clip_is_found_once_when_two_processes_computed_it(open_cache, features):
    open_cache().write([A], features[:1])
    open_cache().write([A, B], features[:2])
    cache = open_cache(A, B)
    assert cache.missing() == []
    assert torch.equal(cache.read([A, B], states=[0, 1, 2]), features[:2])


def test_shard_is_found_by_name_when_the_file_system_lists_it_late(open_cache, features, monkeypatch):
    cache = open_cache(A)
    name = cache.write([A], features[:1])
    monkeypatch.setattr("pathlib.Path.glob", lambda *arguments: iter(()))
    assert cache.missing() == [A]
    assert cache.missing(shard_names=[name]) == []


def test_second_process_waits_while_the_first_computes(open_cache):
    first, second = open_cache(A), open_cache(A)
    assert first.acquire(timeout_s=0)
    began = time.monotonic()
    assert not second.acquire(timeout_s=0.2)
    assert time.monotonic() - began >= 0.2
    second.release()  # holds nothing: the first still has it
    assert not second.acquire(timeout_s=0)
    first.release()
    assert second.acquire(timeout_s=0)
    second.release()


def test_work_goes_on_when_the_file_system_knows_no_locks(open_cache, features, monkeypatch, caplog):
    def refuse(self, **options):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    cache = open_cache(A)
    assert cache.acquire(timeout_s=0)
    assert "the file system knows no locks" in caplog.text
    cache.write([A], features[:1])
    cache.release()
    assert cache.missing() == []


def test_error_names_the_folder_when_a_lock_cannot_be_made(open_cache, monkeypatch):
    def refuse(self, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    cache = open_cache(A)
    with pytest.raises(
        FeatureCacheError, match=r"features_cache_dir: .*tiny@feed.* cannot be written \(Permission denied"
    ):
        cache.acquire(timeout_s=0)


def test_error_names_the_folder_and_nothing_is_left_when_the_disk_is_full(open_cache, features):
    cache = open_cache(A)
    cache.folder.mkdir(parents=True)
    many = features[:1].repeat(2_000, 1, 1)  # 192 kB
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(
            FeatureCacheError, match=r"features_cache_dir: .*tiny@feed.* cannot be written \(File too large"
        ):
            cache.write([digest_of(str(at)) for at in range(2_000)], many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(cache.folder.iterdir()) == []


def test_unfinished_files_are_removed_when_nobody_can_be_writing_them(open_cache, caplog):
    cache = open_cache(A)
    cache.folder.mkdir(parents=True)
    fresh, stale = (cache.folder / f".incomplete-{name}.safetensors" for name in ("1-fresh", "2-stale"))
    for path in (fresh, stale):
        path.write_bytes(b"part of a shard")
    os.utime(stale, (time.time() - 7_200,) * 2)
    assert cache.missing() == [A]
    assert cache.acquire(timeout_s=0)
    cache.release()
    assert caplog.text == ""  # they are no shards
    assert fresh.exists()
    assert not stale.exists()
