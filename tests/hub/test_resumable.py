import re

import pytest

from nvv.hub.resumable import resumable_folder


@pytest.fixture
def target(tmp_path):
    return tmp_path / "nvv" / "corpus"


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target, file: str, error: BaseException | type[BaseException]) -> None:
    """Write a file and a note on it, then fail."""
    with resumable_folder(target) as folder:
        (folder.content / file).write_text(file)
        (folder.reports / file).write_text("done")
        raise error


def test_folder_appears_when_the_block_ends(target):
    with resumable_folder(target) as folder:
        (folder.content / "a.txt").write_text("a")
        (folder.reports / "note").write_text("done")
        (folder.scratch / "cache").mkdir()
        assert not target.exists()
        assert names(target.parent) == [".corpus.incomplete"]
    assert names(target.parent) == ["corpus"]
    assert names(target) == ["a.txt"]


def test_earlier_folder_stays_until_the_end_and_is_replaced(target):
    target.mkdir(parents=True)
    (target / "old.txt").write_text("old")
    with resumable_folder(target) as folder:
        (folder.content / "new.txt").write_text("new")
        assert names(target) == ["old.txt"]
    assert names(target) == ["new.txt"]
    assert names(target.parent) == ["corpus"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, RuntimeError])
def test_what_was_written_waits_when_the_run_is_interrupted(target, error):
    with pytest.raises(error):
        write(target, "a.txt", error)
    assert not target.exists()
    with resumable_folder(target) as folder:
        assert (names(folder.content), names(folder.reports)) == (["a.txt"], ["a.txt"])


def test_nothing_stays_when_the_input_is_bad(target, tmp_path):
    with pytest.raises(ValueError, match="bad"):
        write(target, "a.txt", ValueError("bad"))
    assert names(tmp_path) == []


def test_parents_stay_when_they_were_there_or_are_used(target, tmp_path):
    (tmp_path / "nvv").mkdir()
    with pytest.raises(ValueError, match="bad"):
        write(target, "a.txt", ValueError("bad"))
    assert names(tmp_path) == ["nvv"]
    with pytest.raises(ValueError, match="bad"):
        write(tmp_path / "new" / "corpus", "../../mine.txt", ValueError("bad"))
    assert names(tmp_path / "new") == ["mine.txt"]


def test_second_run_is_refused_and_changes_nothing(target):
    with resumable_folder(target) as folder:
        (folder.content / "a.txt").write_text("a")
        with pytest.raises(BlockingIOError, match=f"^{re.escape(str(target))}: another process is writing it"):
            write(target, "b.txt", RuntimeError("was let in"))
        assert names(folder.content) == ["a.txt"]
    assert names(target) == ["a.txt"]


def test_earlier_folder_comes_back_when_a_run_was_killed_between_the_renames(target):
    hidden = target.with_name(".corpus.incomplete")
    (hidden / "content").mkdir(parents=True)
    (hidden / "replaced").mkdir()
    (hidden / "replaced" / "old.txt").write_text("old")
    with resumable_folder(target):
        assert names(target) == ["old.txt"]


def test_earlier_folder_comes_back_when_the_second_rename_fails(target, monkeypatch):
    target.mkdir(parents=True)
    (target / "old.txt").write_text("old")
    original = type(target).rename

    def rename(self, goal):
        if self.name == "content":
            raise OSError("no")
        return original(self, goal)

    monkeypatch.setattr(type(target), "rename", rename)
    with pytest.raises(OSError, match="no"), resumable_folder(target):
        pass
    assert names(target) == ["old.txt"]


def test_link_in_the_hidden_folder_is_removed_and_not_followed(target, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    with resumable_folder(target) as folder:
        (folder.path / "link").symlink_to(tmp_path / "precious")
    assert names(tmp_path / "precious") == ["file"]
