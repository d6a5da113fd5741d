import subprocess

import pytest
import torch

from nvv.training.provenance import git_commit, package_versions


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        completed = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return completed.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "--quiet", "--message", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_versions_name_python_and_torch():
    versions = package_versions()
    assert next(iter(versions)) == "python"
    assert versions["torch"] == torch.__version__.split("+")[0] or versions["torch"] == torch.__version__


def test_commit_is_the_checkouts_when_the_file_is_tracked(checkout):
    folder, commit = checkout
    assert git_commit(folder / "code.py") == commit


def test_commit_is_marked_when_tracked_files_changed(checkout):
    folder, commit = checkout
    (folder / "code.py").write_text("a = 2\n")
    assert git_commit(folder / "code.py") == f"{commit}-modified"


def test_commit_is_none_when_the_file_only_lies_inside_a_checkout(checkout):
    folder, _ = checkout
    (folder / "site-packages").mkdir()
    installed = folder / "site-packages" / "installed.py"
    installed.write_text("a = 1\n")
    assert git_commit(installed) is None


def test_commit_is_none_when_git_is_not_installed(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit(checkout[0] / "code.py") is None
