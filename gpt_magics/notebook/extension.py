"""Loading and unloading. Loading imports nothing heavy; unloading leaves nothing behind."""

from __future__ import annotations

import sys
from typing import Any

from gpt_magics.notebook.magics import GptMagics
from gpt_magics.notebook.questions import protect_questions

_BROKEN_KERNEL = "7.0.0"
_EVENTS = ("pre_run_cell", "post_run_cell")


def load(shell: Any) -> None:
    """Register the magics with an IPython shell."""
    _remove_magics(shell)  # a second load without an unload replaces the first
    _remove_hooks(shell)
    shell.register_magics(GptMagics(shell=shell))
    shell.input_transformers_cleanup.append(protect_questions)
    if getattr(sys.modules.get("ipykernel"), "__version__", "") == _BROKEN_KERNEL:
        print(  # noqa: T201 - the cell's own output
            "gpt_magics: ipykernel 7.0.0 loses output from background threads. "
            "Run: pip install -U ipykernel"
        )


def unload(shell: Any) -> None:
    """Take back magics, settings, hooks, jobs and the background thread."""
    _remove_magics(shell)
    _remove_hooks(shell)
    from gpt_magics import configuration  # noqa: PLC0415

    configuration.reset()
    if "gpt_magics.api" in sys.modules:
        from gpt_magics import api  # noqa: PLC0415

        for job in [job for job in api.jobs() if not job.ended]:
            print(f"gpt_magics: unloading cancels {job!r}")  # noqa: T201 - the cell's own output
        api.close(keep_spend=True)


def _remove_magics(shell: Any) -> None:
    registered = shell.magics_manager
    if GptMagics.__name__ not in registered.registry:
        return  # looking at every magic would import IPython's own lazy ones: 50 ms
    registered.registry.pop(GptMagics.__name__, None)
    for kind in ("line", "cell"):
        table = registered.magics[kind]
        for name in [n for n, magic in table.items() if _is_ours(getattr(magic, "__self__", None))]:
            del table[name]
    shell.configurables[:] = [thing for thing in shell.configurables if not _is_ours(thing)]


def _is_ours(thing: object) -> bool:
    # By name: after %reload_ext the class is another one.
    return type(thing).__name__ == GptMagics.__name__ and type(
        thing
    ).__module__ == __name__.replace("extension", "magics")


def _remove_hooks(shell: Any) -> None:
    transformers = shell.input_transformers_cleanup
    transformers[:] = [t for t in transformers if getattr(t, "__name__", "") != "protect_questions"]
    for event in _EVENTS:
        for callback in list(shell.events.callbacks[event]):
            if getattr(callback, "__module__", "").startswith("gpt_magics."):
                shell.events.unregister(event, callback)
