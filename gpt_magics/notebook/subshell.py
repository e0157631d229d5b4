"""Clicks during a blocked cell.

A comm message goes to the main shell, which is busy while a cell runs. ipykernel 7.4 lets a comm
name another shell for its messages; we give the panel one of our own. This is ipykernel's private
side: everything is looked for before it is used, and a browser test pins it. Where it is missing,
the panel says to use the stop button instead.
"""

from __future__ import annotations

import concurrent.futures
import sys
from typing import Any

_WAIT_SECONDS = 2.0
# In these versions JupyterLab routes comm messages past the busy shell by itself.
_FIRST_WITH_SUBSHELLS = (7, 1)


def open_for(widget: Any, shell: Any) -> bool:
    """Let clicks on the widget arrive while a cell blocks; whether that is so now."""
    kernel = getattr(shell, "kernel", None)
    comm = getattr(widget, "comm", None)
    if kernel is None or comm is None or not getattr(kernel, "_supports_kernel_subshells", False):
        return False
    if not hasattr(comm, "_reply_subshell_for"):
        return _ipykernel_version() >= _FIRST_WITH_SUBSHELLS
    try:
        own = _own_subshell(kernel)
    except Exception:  # noqa: BLE001 - whatever a private side throws, the panel goes on without
        return False
    comm._reply_subshell_for = lambda _data, _default: own  # noqa: SLF001
    return True


def _own_subshell(kernel: Any) -> str:
    """The id of our subshell in this kernel, made at first use."""
    known: str | None = getattr(kernel, "_gpt_magics_subshell", None)
    if known is not None:
        return known
    thread = kernel.shell_channel_thread
    made: concurrent.futures.Future[str] = concurrent.futures.Future()

    def make() -> None:
        try:
            made.set_result(thread.manager._create_subshell())  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread
            made.set_exception(error)

    thread.io_loop.add_callback(make)
    kernel._gpt_magics_subshell = made.result(_WAIT_SECONDS)  # noqa: SLF001
    return str(kernel._gpt_magics_subshell)  # noqa: SLF001


def _ipykernel_version() -> tuple[int, ...]:
    version = getattr(sys.modules.get("ipykernel"), "version_info", (0,))
    return tuple(part for part in version[:2] if isinstance(part, int))
