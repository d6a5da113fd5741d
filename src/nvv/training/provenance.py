"""What produced a result: package versions, the code's git commit, the machine.

Read from the running interpreter, never typed. The result files themselves are the neighbour `results`' business.
"""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "nvv",
    "torch",
    "torchaudio",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "huggingface-hub",
    "safetensors",
    "numpy",
    "scikit-learn",
    "soundfile",
    "opensmile",
)
"""The distributions whose versions can change a result."""


def package_versions() -> dict[str, str]:
    """Return Python's version and that of each of `PACKAGES` that is installed.

    Returns:
        Distribution name to version, `python` first.

    Example:
        >>> "torch" in package_versions()
        True
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an optional package that is not there did not produce anything
    return versions


def _git(*arguments: str, directory: Path) -> str | None:
    """Return what `git` prints, or None where it fails or is not installed."""
    try:
        completed = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return completed.stdout.strip()


def git_commit(source_file: str | Path = __file__) -> str | None:
    """Return the commit of the checkout that holds this code.

    Args:
        source_file: a file of the code in question.

    Returns:
        The commit's hash, with `-modified` added when tracked files differ from it. None when the file is not tracked
        by git: an installed package that merely lies inside somebody's checkout has no commit.
    """
    source = Path(source_file).resolve()
    if _git("ls-files", "--error-unmatch", source.name, directory=source.parent) is None:
        return None
    commit = _git("rev-parse", "HEAD", directory=source.parent)
    if not commit:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no", directory=source.parent)
    return f"{commit}-modified" if changes else commit
