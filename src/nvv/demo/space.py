"""A Space: a folder with the page, this package's code and what it needs, ready to be pushed to the Hub.

The package is in no registry, so its source lies in the folder; models that are folders here are copied, models on the
Hub are named. Own work.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import yaml
from huggingface_hub.repocard import metadata_load
from packaging.requirements import Requirement

from ..files import write_text
from ..inference.load import load_classifier
from .models import DemoError, ModelName, Models, model_names

__all__ = ["write_space"]

_PACKAGE = "nvv"
_MARK = "nvv-demo"
_MODELS = "models"
_FILES = {"README.md", "app.py", "requirements.txt", _PACKAGE, _MODELS}
_OF_A_RUN_ONLY = ("checkpoint-*", "optimizer.pt", "*.lock", ".*")

_APP = '''"""A page to try classifiers of non-verbal vocalizations on; its code is the folder `nvv` beside this file."""

import os
from pathlib import Path

from nvv.demo.serve import serve_page

MODELS = {models}

if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent)  # models may lie beside this file
    serve_page(MODELS, allow_any={allow_any}, dtype={dtype!r}, max_loaded={max_loaded})
'''

_README = """
# {title}

A page to try classifiers of non-verbal vocalizations on: microphone or file in, label bars out, and for long recordings
a timeline of events. Written by `nvv demo --space-folder`.

Run it anywhere: `pip install -r requirements.txt`, then `python app.py`.

{models}

The licence above is that of the code. Each model comes under its own, which the page and the model's card name; a
private model also needs a token that may read it, as the secret `HF_TOKEN` of the Space.
"""


def write_space(
    models: Sequence[str],
    folder: Path,
    *,
    allow_any: bool = False,
    dtype: str = "float32",
    max_loaded: int = 3,
) -> Path:
    """Write a Space's folder, whole or not at all.

    Args:
        models: as in `nvv.demo.serve.serve_page`.
        folder: where to; an earlier Space of this function is replaced.
        allow_any: as in `serve_page`.
        dtype: as in `serve_page`.
        max_loaded: as in `serve_page`.

    Returns:
        The folder.

    Raises:
        DemoError: for an existing folder that is something else, a model that would not load elsewhere, and where
            this package was not installed.
        nvv.inference.load.ModelError: for a name that is no model.
    """
    folder = folder.expanduser()
    _check_replaceable(folder)
    Models(models, allow_any=allow_any, max_loaded=max_loaded)  # that each is a model
    names = model_names(models)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".incomplete-") as parent:
        space = Path(parent) / folder.name
        space.mkdir()
        listed = [_copied(name, space) if name.is_folder else _on_the_hub(name) for name in names]
        write_text(
            space / "app.py",
            _APP.format(models=_as_list(listed), allow_any=allow_any, dtype=dtype, max_loaded=max_loaded),
        )
        write_text(space / "requirements.txt", "".join(f"{line}\n" for line in _requirements()))
        write_text(space / "README.md", _readme(names, listed))
        source = Path(sys.modules[_PACKAGE].__file__).parent
        shutil.copytree(source, space / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        if folder.exists():
            os.replace(folder, Path(parent) / "before")
        os.replace(space, folder)
    return folder


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder with anything in it that this module did not write."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DemoError(f"--space-folder: {folder} is a file; name a folder that is not there yet.")
    found = {path.name for path in folder.iterdir()}
    if not found:
        return
    card = folder / "README.md"
    tags = (metadata_load(card) or {}).get("tags") if card.is_file() else None
    foreign = sorted(found - _FILES)
    if _MARK not in (tags or ()) or foreign:
        reason = f"holds {foreign[0]}" if foreign else "was not written by nvv demo"
        raise DemoError(
            f"--space-folder: {folder} {reason}; name a folder that is not there yet, or empty it yourself."
        )


def _on_the_hub(name: ModelName) -> str:
    return name.name if name.revision is None else f"{name.name}@{name.revision}"


def _copied(name: ModelName, space: Path) -> str:
    """Copy a model's folder into the Space, and return what it is called there."""
    source = Path(name.name).expanduser().resolve()
    classifier = load_classifier(str(source), allows_tasks=True)
    needs_encoder = classifier.facts.kind in ("adapter", "head") and not classifier.facts.random_init
    if needs_encoder and Path(classifier.model.config.backbone_id).expanduser().exists():
        raise DemoError(
            f"MODEL: {name.shown} takes its encoder from the folder {classifier.model.config.backbone_id}, which a "
            "Space would not have. Train from a backbone on the Hub, or save a model with all its weights."
        )
    target = space / _MODELS / source.name
    number = 2
    while target.exists():
        target, number = target.with_name(f"{source.name}_{number}"), number + 1
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_OF_A_RUN_ONLY))
    return f"{_MODELS}/{target.name}"


def _as_list(listed: Sequence[str]) -> str:
    return "[\n" + "".join(f"    {name!r},\n" for name in listed) + "]"


def _requirements() -> list[str]:
    """Return what the package needs by its own metadata, and the gradio that the page was tried with."""
    try:
        declared = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise DemoError(f"--space-folder: {_PACKAGE} is not installed, so that nothing says what it needs.") from error
    requirements = [Requirement(line) for line in declared]
    needed = [str(one) for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return sorted([*needed, f"gradio=={metadata.version('gradio')}"], key=str.lower)


def _readme(names: Sequence[ModelName], listed: Sequence[str]) -> str:
    """Return the Space's card."""
    title = "Non-verbal vocalizations"
    on_hub = list(dict.fromkeys(name.name for name in names if not name.is_folder))
    header = {
        "title": title,
        "emoji": "🎙️",
        "colorFrom": "blue",
        "colorTo": "indigo",
        "sdk": "gradio",
        "sdk_version": metadata.version("gradio"),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "short_description": "Laughs, sighs, screams: which, and when?",
        "license": "mit",
        **({"models": on_hub} if on_hub else {}),
        "tags": ["nvv", _MARK, "non-verbal-vocalization", "audio-classification"],
    }
    lines = [
        f"- `{there}`, copied into this Space" if name.is_folder else f"- [{there}](https://huggingface.co/{name.name})"
        for name, there in zip(names, listed, strict=True)
    ]
    body = _README.format(title=title, models="Models:\n\n" + "\n".join(lines))
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n{body}"
