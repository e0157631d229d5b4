"""A real kernel to drive, and what a cell left behind."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from queue import Empty
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from pathlib import Path

    from gpt_magics.sandbox import Sandbox

PATIENCE_SECONDS = 30.0
WIDGET = "application/vnd.jupyter.widget-view+json"


class Open(Protocol):
    """Open a sandbox that is closed when the test ends."""

    def __call__(self, **options: Any) -> Sandbox: ...


def environment(folder: Path) -> dict[str, str]:
    """No key, no address and no profile of the user's."""
    own = ("OPENAI_", "GPT_MAGICS_", "IPYTHONDIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "IPYTHONDIR": str(folder / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


@dataclass
class Cell:
    """A cell's outputs as a reader sees them at its end: updates have replaced what they update."""

    text: str = ""
    errors: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    updates: int = 0
    error: str = ""
    traceback: str = ""
    kinds: list[str] = field(default_factory=list)
    _named: dict[str, int] = field(default_factory=dict)

    def take(self, kind: str, content: dict[str, Any]) -> None:
        self.kinds.append(kind)
        name = content.get("transient", {}).get("display_id")
        if kind == "stream":
            self.text += content["text"] if content["name"] == "stdout" else ""
            self.errors += content["text"] if content["name"] == "stderr" else ""
        elif kind in {"display_data", "execute_result"}:
            self._named[name] = len(self.outputs)
            self.outputs.append(content["data"])
        elif kind == "update_display_data":
            self.updates += 1
            if name in self._named:
                self.outputs[self._named[name]] = content["data"]
        elif kind == "error":
            self.error = f"{content['ename']}: {content['evalue']}"
            self.traceback = "\n".join(content["traceback"])


class Kernel:
    """A kernel in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=environment(folder))
        self._client = self.manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self._client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def start(self, code: str) -> str:
        """Start a cell and return at once."""
        return str(self._client.execute(code))

    def finish(self, started: str) -> Cell:
        """Everything that a started cell put out until it ended."""
        cell = Cell()
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < end, f"the cell goes on and on: {cell}"
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != started:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return cell
            cell.take(kind, content)

    def run(self, code: str) -> Cell:
        return self.finish(self.start(code))

    def value(self, expression: str) -> Any:
        cell = self.run(f"import json; print(json.dumps({expression}))")
        assert not cell.error, cell.traceback
        return json.loads(cell.text)


def configure(run: Any, box: Sandbox) -> None:
    for name, value in (("base_url", box.url), ("api_key", box.key), ("model", "sandbox-echo")):
        run(f"%config GptMagics.{name} = {value!r}")
