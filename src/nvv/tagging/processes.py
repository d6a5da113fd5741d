"""The processes that share a run: which of them this one is, and what they tell each other.

They are started by `accelerate launch`, torchrun, or anything else that sets their environment; one process alone needs
nothing. Only small Python objects are exchanged, over gloo on every device: work on GPUs needs no other backend, and
where a process dies the others are told at once instead of waiting. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from ..inference.device import compute_device
from ..training.arguments import ArgumentsError

__all__ = ["Processes", "joined_processes"]


class Processes:
    """The processes of a run, as one of them sees them.

    Args:
        state: accelerate's; None for a process alone.
        device: where this process computes.
    """

    def __init__(self, state: PartialState | None, device: torch.device) -> None:
        self.num = 1 if state is None else state.num_processes
        self.index = 0 if state is None else state.process_index
        self.device = device

    @property
    def is_main(self) -> bool:
        """Whether this is the one that plans and finishes the run."""
        return self.index == 0

    def from_main(self, ask: Callable[[], Any]) -> Any:
        """Call a function in the main process and return its result, or raise its `ValueError` or `OSError`, in all.

        Raises:
            ConnectionError: If another process has ended, or does not answer in time.
        """
        if self.num == 1:
            return ask()
        answer: list[Any] = [None, None]
        raised: Exception | None = None
        if self.is_main:
            try:
                answer[0] = ask()
            except (ValueError, OSError) as error:
                raised, answer[1] = error, str(error)
        with _explaining_loss():
            result, message = broadcast_object_list(answer, from_process=0)
        if message is not None:
            raise raised or ArgumentsError(message)
        return result

    def gathered(self, items: list[Any]) -> list[Any]:
        """Return the items of all processes, once all have come here.

        Raises:
            ConnectionError: As `from_main`.
        """
        if self.num == 1:
            return items
        with _explaining_loss():
            return gather_object(items)


@contextmanager
def joined_processes(device: str | None, *, max_wait_hours: float) -> Iterator[Processes]:
    """Find the other processes of the run, and part from them in the end.

    Args:
        device: Where to compute; None: an accelerator where there is one, each process of a machine its own.
        max_wait_hours: How long a process waits for the others at most, > 0.

    Yields:
        The processes.

    Raises:
        ArgumentsError: For a device that is not there, or one accelerator named for several processes, or no time.
    """
    if max_wait_hours <= 0:
        raise ArgumentsError(f"max_wait_hours: expected more than 0, found {max_wait_hours!r}.")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(None, compute_device(device))
        return
    # accelerate's state does not look by itself whether there is an accelerator: without one each process were alone.
    on_cpu = device == "cpu" or (device is None and _told_to_use_cpu()) or not torch.accelerator.is_available()
    if device is not None and compute_device(device).index is not None:
        raise ArgumentsError(f"device: {device} cannot serve several processes; leave it out, and each takes its own.")
    state = PartialState(cpu=on_cpu, backend="gloo", timeout=timedelta(hours=max_wait_hours))
    try:
        yield Processes(state, state.device)
    finally:
        state.destroy_process_group()


@contextmanager
def _explaining_loss() -> Iterator[None]:
    """Say what it means that the others do not answer."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            f"another process of this run has ended, or did not answer in time ({str(error).splitlines()[0]}). What is "
            "written stays; run the same command again to go on."
        ) from error


def _told_to_use_cpu() -> bool:
    """Say whether `accelerate launch --cpu` started this process."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")
