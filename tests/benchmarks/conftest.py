from __future__ import annotations

from collections.abc import Iterator

import pytest
from arena import Arena


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    """The quick server runs; every client gets a process of its own."""
    with Arena() as open_arena:
        yield open_arena
