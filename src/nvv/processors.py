"""How many processors this process may use, which in a container or a batch job are fewer than the machine has."""

from __future__ import annotations

import os

__all__ = ["available_processors", "default_num_workers"]

_MAX_DEFAULT_WORKERS = 8


def available_processors() -> int:
    """Return the number of processors that this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_num_workers() -> int:
    """Return how many threads to start where nobody says: one a processor that may be used, at most eight."""
    return min(available_processors(), _MAX_DEFAULT_WORKERS)
