"""Where a finished model computes. Own work."""

from __future__ import annotations

import torch

from ..training.arguments import ArgumentsError

__all__ = ["compute_device"]


def compute_device(name: str | None) -> torch.device:
    """Return the device to compute on.

    Args:
        name: cpu, cuda, cuda:1 …; None: the accelerator, where there is one.

    Returns:
        The device.

    Raises:
        ArgumentsError: for one that is unknown, or not there.
    """
    if name is None:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA fails by assertion
        raise ArgumentsError(f"device: {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device
