"""How a test waits for what another thread or process of its own is about to do.

The only real wait outside kernel and browser tests: a server on loopback answers in real time.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return as soon as something holds; fail if it does not come to hold in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.002)
