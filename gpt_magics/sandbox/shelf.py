"""Things that stay on the server and take their time: each is completed after some polls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt_magics.sandbox.wire import Problem, ProblemError

if TYPE_CHECKING:
    from gpt_magics.sandbox.wire import Json

_MOST = 10_000


@dataclass
class _Slow:
    opened: Json
    done: Json
    polls: int
    cancelled: bool = False


class Shelf:
    """Keeps the latest things by id; a thing that is not there is a 404 for the client."""

    def __init__(self) -> None:
        self._things: dict[str, _Slow] = {}

    def put(self, name: str, opened: Json, done: Json, *, polls: int) -> None:
        """Keep a thing that is ``opened`` now and ``done`` after ``polls`` looks at it."""
        while len(self._things) >= _MOST:
            del self._things[next(iter(self._things))]
        self._things[name] = _Slow(opened, done, polls)

    def get(self, name: str) -> Json:
        """Return a thing as it will be in the end."""
        return self._find(name).done

    def poll(self, name: str) -> Json:
        """Return a thing as it is now, which brings it one poll nearer to its end."""
        thing = self._find(name)
        if thing.cancelled:
            return {**thing.opened, "status": "cancelled"}
        if thing.polls <= 0:
            return thing.done
        thing.polls -= 1
        return {**thing.opened, "status": "in_progress"}

    def cancel(self, name: str) -> Json:
        """Cancel a thing, unless it is done already."""
        thing = self._find(name)
        if thing.polls <= 0:
            return thing.done
        thing.cancelled = True
        return {**thing.opened, "status": "cancelled"}

    def _find(self, name: str) -> _Slow:
        thing = self._things.get(name)
        if thing is None:
            raise ProblemError(Problem(404, f"No such object: '{name}'.", code="not_found"))
        return thing
