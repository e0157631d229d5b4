"""What ``configure`` and ``%config GptMagics`` have set in this kernel, before a session needs it.

Kept apart from ``api`` so that ``%config`` right after ``%load_ext`` imports nothing heavy.
"""

from __future__ import annotations

import sys
from typing import Any

from gpt_magics.settings import Settings, checked, load

_set: dict[str, Any] = {}


def configure(**options: Any) -> None:
    """Set options for everything that follows: ``configure(model="gpt-4.1", budget=2.0)``.

    The names are those of ``Settings``; ``None`` takes an option back.
    """
    values = {
        name: None if value is None else checked(name, value) for name, value in options.items()
    }
    _set.update(values)
    for name in [name for name, value in _set.items() if value is None]:
        del _set[name]
    _tell_session()


def configured() -> dict[str, Any]:
    """What was set."""
    return dict(_set)


def settings(**options: Any) -> Settings:
    """The settings in force: ``.env``, environment, ``configure``, then ``options``."""
    return load(_set).with_options(**options)


def reset() -> None:
    """Forget what was set."""
    _set.clear()


def _tell_session() -> None:
    module = sys.modules.get("gpt_magics.session.session")
    running = module.current_session() if module is not None else None
    if running is not None:
        running.configure(settings())
