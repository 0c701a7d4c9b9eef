"""Waiting for what has no event to wait for."""

import time


def eventually(is_so, seconds=20.0):
    """Whether it becomes so. Asks often, so that a test ends as soon as it can."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        if time.monotonic() > end:
            return found
        time.sleep(0.01)
    return found
