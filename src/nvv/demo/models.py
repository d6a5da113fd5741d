"""The models of a page: checked when it starts, loaded when somebody asks for one, a few at a time.

What they answer is the neighbour `answers`' business, what is said of them that of `facts`. Own work.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..inference.device import compute_device
from ..inference.load import Classifier, ModelError, declared_tasks, load_beside, load_classifier
from ..inference.readings import give_calibrated_scores
from ..inference.streams import DTYPES, ready_classifier
from ..training.arguments import ArgumentsError
from ..training.steps import public_name

__all__ = ["DemoError", "ModelName", "Models", "model_names"]

_MAX_ADAPTERS = 16  # in one backbone
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", re.ASCII)


class DemoError(ArgumentsError):
    """What cannot be done, in words for whoever starts the page or uses it."""


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """Which model.

    Attributes:
        name: a folder or a Hub id.
        revision: branch, tag or commit of a Hub id; None: its main branch.
        shown: what the page calls it; no machine's path.
    """

    name: str
    revision: str | None = None
    shown: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder here, and not a repository on the Hub."""
        return Path(self.name).expanduser().exists()


def model_names(texts: Sequence[str]) -> tuple[ModelName, ...]:
    """Read the names of models.

    Args:
        texts: folders, or Hub ids `OWNER/NAME` or `OWNER/NAME@REVISION`.

    Returns:
        The models in that order, each shown by another name.

    Raises:
        DemoError: for none, and for one that is named twice.

    Example:
        >>> model_names(["nvv/whisper-tiny-lora-vivae@v1"])[0].revision
        'v1'
    """
    if not texts:
        raise DemoError("MODEL: expected one model or more, found none.")
    names: list[ModelName] = []
    for text in texts:
        name, revision = text, None
        if not Path(text).expanduser().exists() and "@" in text:
            name, _, revision = text.rpartition("@")
        if any((name, revision) == (other.name, other.revision) for other in names):
            raise DemoError(f"MODEL: {text} is named twice.")
        shown = text if revision is not None else public_name(text)
        taken = {other.shown for other in names}
        number = next(number for number in range(1, len(texts) + 1) if _numbered(shown, number) not in taken)
        names.append(ModelName(name=name, revision=revision, shown=_numbered(shown, number)))
    return tuple(names)


def _numbered(shown: str, number: int) -> str:
    """Tell folders of the same last part from each other."""
    return shown if number == 1 else f"{shown} ({number})"


class Models:
    """The models that a page may use; safe to share between threads.

    Args:
        names: the models to choose among; each has to be one, which is found out without loading it.
        allow_any: take any other Hub id too. Folders of this machine are never taken from a visitor.
        device: where to compute: cpu, cuda, cuda:1 …; None: the accelerator, where there is one.
        dtype: what to compute in: float32, bfloat16 or float16.
        max_loaded: how many backbones are kept in memory, at least 1, each with all models that are adapters or heads
            on it; the one that was not used for longest goes first.

    Raises:
        DemoError: for names that `model_names` refuses, or a number of backbones below 1.
        nvv.inference.load.ModelError: for a name that is no model.
        nvv.training.arguments.ArgumentsError: for a device that is not there, or a precision that is unknown.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        allow_any: bool = False,
        device: str | None = None,
        dtype: str = "float32",
        max_loaded: int = 3,
    ) -> None:
        if max_loaded < 1:
            raise DemoError(f"max_loaded: expected 1 or more, found {max_loaded}.")
        if dtype not in DTYPES:
            raise DemoError(f"dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}.")
        self.allow_any = allow_any
        self._device, self._dtype = compute_device(device), dtype
        self._max_loaded = max_loaded
        self._names = {name.shown: name for name in model_names(names)}
        self._backbones: OrderedDict[int, _Backbone] = OrderedDict()  # the one used last stands last
        self._lock = threading.Lock()
        for name in self._names.values():
            declared_tasks(name.name, revision=name.revision)

    @property
    def shown(self) -> list[str]:
        """What the page calls the models to choose among."""
        return list(self._names)

    def name_of(self, shown: str) -> ModelName:
        """Say which model a visitor chose.

        Args:
            shown: one of the names shown or, where any is allowed, a Hub id.

        Returns:
            The model.

        Raises:
            DemoError: for anything else.
        """
        if shown in self._names:
            return self._names[shown]
        if not self.allow_any:
            raise DemoError(f"There is no model {shown!r} here; choose one of {', '.join(self._names)}.")
        if not _HUB_ID.fullmatch(shown) or Path(shown).exists() or ".." in shown:
            raise DemoError(f"{shown!r} is no Hub id: those are OWNER/NAME or OWNER/NAME@REVISION.")
        name, _, revision = shown.partition("@")
        return ModelName(name=name, revision=revision or None, shown=shown)

    @contextmanager
    def using(self, shown: str) -> Iterator[Classifier]:
        """Give a model to one thread at a time, loaded.

        Args:
            shown: as in `name_of`.

        Yields:
            The classifier, on its device.

        Raises:
            DemoError: as `name_of`.
            nvv.inference.load.ModelError: for a model that cannot be loaded.
        """
        name = self.name_of(shown)
        # One lock for all of them: they share the machine's cores and memory, and adapters of one backbone its weights.
        with self._lock:
            yield self._open(name)

    def _open(self, name: ModelName) -> Classifier:
        """Return a model, loaded if it is not; the caller holds the lock."""
        number = next((number for number, one in self._backbones.items() if name.shown in one.models), None)
        if number is None:
            number = self._load(name)
        self._backbones.move_to_end(number)
        return self._backbones[number].activated(name.shown)

    def _load(self, name: ModelName) -> int:
        """Load a model, into one of the same backbone where there is one, and return that backbone's number."""
        for number, backbone in self._backbones.items():
            if backbone.can_add(name):
                return number
        while len(self._backbones) >= self._max_loaded:
            self._backbones.popitem(last=False)
        # Only code that is installed runs: a repository's own is never asked for.
        classifier = load_classifier(name.name, revision=name.revision, allows_tasks=True)
        classifier = ready_classifier(classifier, dtype=self._dtype, device=self._device)
        number = 1 + max(self._backbones, default=0)
        self._backbones[number] = _Backbone(name, classifier)
        return number


class _Backbone:
    """A backbone in memory, and the models that are in it.

    Args:
        name: the model that brought it.
        classifier: that model, ready to compute.
    """

    def __init__(self, name: ModelName, classifier: Classifier) -> None:
        adapters = getattr(classifier.model, "loaded_adapters", list)()
        self.models = {name.shown: classifier}
        self._adapter_names = dict(zip([name.shown], adapters, strict=False))  # of a whole model none

    def can_add(self, name: ModelName) -> bool:
        """Load a model's adapter or head into the backbone, if it has one and it belongs there."""
        if not self._adapter_names or len(self.models) >= _MAX_ADAPTERS:
            return False
        first, adapter_name = next(iter(self.models.values())), f"number_{len(self.models)}"
        try:
            classifier = load_beside(
                first, name.name, adapter_name=adapter_name, revision=name.revision, allows_tasks=True
            )
        except ModelError:
            return False  # loaded by itself, it will do, or say what is wrong
        self.models[name.shown], self._adapter_names[name.shown] = classifier, adapter_name
        return True

    def activated(self, shown: str) -> Classifier:
        """Return one of the models, with its adapter in place."""
        classifier = self.models[shown]
        if self._adapter_names:
            classifier.model.set_adapter(self._adapter_names[shown])
        give_calibrated_scores(classifier)
        return classifier
