"""How much of the machine this process may use."""

import os


def usable_cores() -> int:
    """Return how many cores this process may use; where the system does not tell, all that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
