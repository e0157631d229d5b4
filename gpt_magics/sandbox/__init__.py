"""An OpenAI-compatible server on loopback with real limits, to try things without a bill.

with Sandbox(rpm=600) as box:
    client = OpenAI(base_url=box.url, api_key=box.key)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt_magics.sandbox.options import SandboxOptions
    from gpt_magics.sandbox.thread import Sandbox

__all__ = ["Sandbox", "SandboxOptions"]


def __getattr__(name: str) -> object:
    # aiohttp takes a quarter of a second to import, so it is left until a sandbox is wanted.
    if name == "Sandbox":
        from gpt_magics.sandbox.thread import Sandbox  # noqa: PLC0415 - lazy on purpose

        return Sandbox
    if name == "SandboxOptions":
        from gpt_magics.sandbox.options import SandboxOptions  # noqa: PLC0415 - lazy on purpose

        return SandboxOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
