"""A notebook is a safe place to send work to an LLM API.

``%load_ext gpt_magics`` gives ``%%gpt`` (ask once), ``%gpt_batch`` (ask for every row of a column)
and ``%gpt_limits`` (headroom, retries, spend). The names below do the same from Python.

Everything heavy is imported at first use: loading the extension costs milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt_magics.api import ask, batch, client, configure, limits, sync_client
    from gpt_magics.jobs.job import Job
    from gpt_magics.session.session import Answer

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Job",
    "ask",
    "batch",
    "client",
    "configure",
    "limits",
    "load_ipython_extension",
    "sync_client",
    "unload_ipython_extension",
]

_ROOMS = {"Answer": "gpt_magics.session.session", "Job": "gpt_magics.jobs.job"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS.get(name, "gpt_magics.api")), name)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext gpt_magics``: register the magics."""
    from gpt_magics.notebook.extension import load  # noqa: PLC0415

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext gpt_magics``: take everything back, the background thread included."""
    from gpt_magics.notebook.extension import unload  # noqa: PLC0415

    unload(shell)
