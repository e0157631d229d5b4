"""The live panel: headroom, progress, retries and spend, in one message per update."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import anywidget
import traitlets

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpt_magics.notebook.snapshot import Snapshot

_log = logging.getLogger(__name__)

ACTIONS = frozenset({"pause", "resume", "cancel"})


class LimitPanel(anywidget.AnyWidget):
    """A widget that shows one `Snapshot` and reports clicks on its buttons.

    Args:
        snapshot: the first picture, so that the panel never opens empty.
        on_command: called with ``(job_id, action)``, action being one of `ACTIONS`.
    """

    _esm: ClassVar[Path] = Path(__file__).with_name("panel.js")
    _css: ClassVar[Path] = Path(__file__).with_name("panel.css")
    snapshot = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        snapshot: Snapshot | None = None,
        *,
        on_command: Callable[[str, str], None] | None = None,
    ) -> None:
        super().__init__(snapshot=dict(snapshot or {}))
        self._on_command = on_command
        self.on_msg(self._receive)

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """Pass a click on; ignore anything that is not one (any front end may write here)."""
        command = read_command(content)
        if command is None:
            _log.debug("ignored a message to the panel: %.200r", content)
        elif self._on_command is not None:
            self._on_command(*command)


def read_command(content: object) -> tuple[str, str] | None:
    """Return ``(job_id, action)`` if `content` is a well-formed command."""
    if not isinstance(content, dict) or content.get("type") != "command":
        return None
    job, action = content.get("job"), content.get("action")
    if isinstance(job, str) and job and isinstance(action, str) and action in ACTIONS:
        return job, action
    return None
