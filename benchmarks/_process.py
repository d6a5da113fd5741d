"""Starts a program, waits for it, and prints its seconds and its peak memory as JSON.

    python benchmarks/_process.py PROGRAM [ARGUMENT ...]

A process of its own, and a small one: the system counts what a program's starter holds at that moment as the program's.
What the program prints is not shown; its errors are, and the exit status is its own.
"""

import json
import os
import sys
import time


def main() -> None:
    """Start, wait, print."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nothing:
        actions = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), 1)]
        process = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - start
    in_mib = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    figures = {"wall": wall, "processor": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / in_mib}
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
