from __future__ import annotations

import json

import pytest
import torch
import yaml
from safetensors.torch import save_file

from nvv.training.checkpoints import (
    OutputFolderError,
    checkpoint_to_resume,
    is_complete,
    last_complete_checkpoint,
    prepare_output_folder,
    stopped_early_at,
)


@pytest.fixture
def write_checkpoint(tmp_path):
    def write(step, *, patience_used=None):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        save_file({"weight": torch.zeros(100)}, folder / "adapter_model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"state": torch.zeros(100)}, folder / name)
        state = {"global_step": step}
        if patience_used is not None:
            stored = {"args": {"early_stopping_patience": 3}, "attributes": {}}
            stored["attributes"]["early_stopping_patience_counter"] = patience_used
            state["stateful_callbacks"] = {"EarlyStoppingCallback": stored}
        (folder / "trainer_state.json").write_text(json.dumps(state))
        return folder

    return write


def test_newest_checkpoint_is_found_by_number(write_checkpoint, tmp_path):
    write_checkpoint(9)
    newest = write_checkpoint(10)
    assert last_complete_checkpoint(tmp_path / "run") == newest


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors"]
)
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_checkpoint_before_is_found_when_the_last_is_damaged(write_checkpoint, tmp_path, name, damage):
    before = write_checkpoint(1)
    last = write_checkpoint(2)
    assert is_complete(last)
    file = last / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    assert not is_complete(last)
    assert last_complete_checkpoint(tmp_path / "run") == before


def test_last_starts_afresh_when_there_is_no_checkpoint(tmp_path):
    assert checkpoint_to_resume(tmp_path / "run", "last") is None
    assert checkpoint_to_resume(tmp_path / "run", None) is None


def test_named_checkpoint_is_refused_when_it_is_none(write_checkpoint, tmp_path):
    checkpoint = write_checkpoint(4)
    assert checkpoint_to_resume(tmp_path, str(checkpoint)) == checkpoint
    with pytest.raises(OutputFolderError, match=r"found .*absent"):
        checkpoint_to_resume(tmp_path, str(tmp_path / "absent"))


def _prepare(folder, config=None, *, resume=False, overwrite=False):
    prepare_output_folder(
        folder, config or {"seed": 1}, config_name="config_resolved.yaml", resume=resume, overwrite=overwrite
    )


def _leave_a_run(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config_resolved.yaml").write_text(yaml.safe_dump({"seed": 1, "data_dir": "here", "hub_model_id": None}))


def test_folder_with_other_things_is_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    _prepare(tmp_path)
    assert (tmp_path / "notes.txt").is_file()


def test_folder_of_another_run_is_refused(write_checkpoint, tmp_path):
    write_checkpoint(1)
    with pytest.raises(
        OutputFolderError, match=r"an unfinished run.*--resume_from_checkpoint last.*--overwrite_output_dir"
    ):
        _prepare(tmp_path / "run")
    (tmp_path / "run" / "metrics.json").write_text("{}")
    with pytest.raises(OutputFolderError, match="a finished run"):
        _prepare(tmp_path / "run")


def test_run_is_deleted_and_nothing_else_when_overwritten(write_checkpoint, tmp_path):
    checkpoint = write_checkpoint(1)
    folder = checkpoint.parent
    for name in ("metrics.json", "adapter_model.safetensors", "notes.txt"):
        (folder / name).write_text("{}")
    _prepare(folder, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_resuming_is_refused_when_the_run_was_configured_differently(tmp_path):
    _leave_a_run(tmp_path)
    _prepare(tmp_path, {"seed": 1, "data_dir": "there", "hub_model_id": "me/mine"}, resume=True)
    with pytest.raises(OutputFolderError, match=r"seed \(was 1, now 2\)"):
        _prepare(tmp_path, {"seed": 2, "data_dir": "here", "hub_model_id": None}, resume=True)


def test_early_stop_is_seen_when_patience_had_run_out(write_checkpoint):
    assert stopped_early_at(write_checkpoint(1)) is None
    assert stopped_early_at(write_checkpoint(2, patience_used=2)) is None
    assert stopped_early_at(write_checkpoint(3, patience_used=3)) == 3
