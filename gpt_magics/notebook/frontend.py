"""What the user looks at: a page that can show widgets, or a terminal."""

from __future__ import annotations

from typing import Any


def has_browser(shell: Any) -> bool:
    """Whether outputs go to a Jupyter front end. A terminal's shell has no kernel."""
    return getattr(shell, "kernel", None) is not None
