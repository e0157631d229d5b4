"""Endpoints of things that are stored: models, files, vector stores, batches."""

from __future__ import annotations

from email import message_from_bytes
from itertools import count
from typing import TYPE_CHECKING

from gpt_magics.sandbox.call import Endpoint, wall_clock
from gpt_magics.sandbox.options import ECHO_MODEL
from gpt_magics.sandbox.wire import Problem, ProblemError, unknown_model

if TYPE_CHECKING:
    from aiohttp import web

    from gpt_magics.sandbox.call import Call
    from gpt_magics.sandbox.options import SandboxOptions
    from gpt_magics.sandbox.shelf import Shelf
    from gpt_magics.sandbox.wire import Json

_CREATED = 1_700_000_000


class Storage:
    """Keeps descriptions of what is uploaded, not the contents."""

    def __init__(self, options: SandboxOptions, shelf: Shelf) -> None:
        self._options = options
        self._shelf = shelf
        self._numbers = count(1)

    def endpoints(self) -> list[Endpoint]:
        """Return the routes that name no model."""
        inside = "/vector_stores/{store}/files"
        return [
            Endpoint("GET", "/models", self.models),
            Endpoint("GET", "/models/{name}", self.model),
            Endpoint("POST", "/files", self.upload, slow=True),
            Endpoint("GET", "/files/{name}", self.poll),
            Endpoint("POST", "/vector_stores", self.new_store),
            Endpoint("GET", "/vector_stores/{name}", self.poll),
            Endpoint("POST", inside, self.attach),
            Endpoint("GET", inside + "/{name}", self.poll_attached),
            Endpoint("POST", "/batches", self.new_batch),
            Endpoint("GET", "/batches/{name}", self.poll),
            Endpoint("POST", "/batches/{name}/cancel", self.cancel),
        ]

    async def models(self, call: Call) -> web.StreamResponse:
        """List the models."""
        names = [*self._options.models, ECHO_MODEL]
        return call.answer({"object": "list", "data": [_model(name) for name in names]})

    async def model(self, call: Call) -> web.StreamResponse:
        """Describe one model."""
        if call.name not in {*self._options.models, ECHO_MODEL}:
            raise ProblemError(unknown_model(call.name))
        return call.answer(_model(call.name))

    async def upload(self, call: Call) -> web.StreamResponse:
        """Take a file in."""
        parts = _form(call)
        if "file" not in parts:
            raise ProblemError(Problem(400, "Missing required parameter: 'file'.", param="file"))
        filename, content = parts["file"]
        made: Json = {
            "id": f"file-sandbox{next(self._numbers)}",
            "object": "file",
            "bytes": len(content),
            "created_at": wall_clock(),
            "expires_at": None,
            "filename": filename,
            "purpose": parts.get("purpose", ("", b"assistants"))[1].decode(errors="replace"),
            "status": "processed",
            "status_details": None,
        }
        self._shelf.put(made["id"], made, made, polls=0)
        return call.answer(made)

    async def new_store(self, call: Call) -> web.StreamResponse:
        """Make a vector store."""
        made: Json = {
            "id": f"vs_sandbox{next(self._numbers)}",
            "object": "vector_store",
            "created_at": wall_clock(),
            "name": call.body.get("name") or "",
            "status": "completed",
            "usage_bytes": 0,
            "file_counts": {
                "in_progress": 0,
                "completed": 0,
                "failed": 0,
                "cancelled": 0,
                "total": 0,
            },
            "last_active_at": wall_clock(),
            "metadata": call.body.get("metadata") or {},
        }
        self._shelf.put(made["id"], made, made, polls=0)
        return call.answer(made)

    async def attach(self, call: Call) -> web.StreamResponse:
        """Put a file into a vector store, which takes some polls."""
        store = call.request.match_info["store"]
        file = self._shelf.get(str(call.body.get("file_id")))
        self._shelf.get(store)
        opened: Json = {
            "id": file["id"],
            "object": "vector_store.file",
            "created_at": wall_clock(),
            "usage_bytes": file["bytes"],
            "vector_store_id": store,
            "status": "in_progress",
            "last_error": None,
        }
        self._put_slow(f"{store}/{file['id']}", opened)
        return call.answer(opened)

    async def new_batch(self, call: Call) -> web.StreamResponse:
        """Make a batch, which takes some polls. Its lines are not answered."""
        opened: Json = {
            "id": f"batch_sandbox{next(self._numbers)}",
            "object": "batch",
            "endpoint": call.body.get("endpoint"),
            "input_file_id": self._shelf.get(str(call.body.get("input_file_id")))["id"],
            "completion_window": call.body.get("completion_window", "24h"),
            "created_at": wall_clock(),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": call.body.get("metadata"),
        }
        self._put_slow(opened["id"], opened)
        return call.answer(opened)

    async def poll(self, call: Call) -> web.StreamResponse:
        """Tell how far a thing is."""
        return call.answer(self._shelf.poll(call.name))

    async def poll_attached(self, call: Call) -> web.StreamResponse:
        """Tell how far a file of a vector store is."""
        store = call.request.match_info["store"]
        return call.answer(self._shelf.poll(f"{store}/{call.name}"))

    async def cancel(self, call: Call) -> web.StreamResponse:
        """Cancel a thing that is not completed."""
        return call.answer(self._shelf.cancel(call.name))

    def _put_slow(self, name: str, opened: Json) -> None:
        done = {**opened, "status": "completed"}
        self._shelf.put(name, opened, done, polls=self._options.polls)


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "sandbox"}


def _form(call: Call) -> dict[str, tuple[str, bytes]]:
    """Read a multipart body into name → (file name, content)."""
    kind = call.request.headers.get("content-type", "")
    whole = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + call.raw)
    found = {}
    for part in whole.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = (part.get_filename() or "", content)
    return found
