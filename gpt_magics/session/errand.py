"""What the choke point asks of a wire: an errand to run, and the reply that an attempt brings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import httpx2

from gpt_magics.session.call import Call
from gpt_magics.session.metering import Meter
from gpt_magics.spend.budget import Reservation

A = TypeVar("A")
R = TypeVar("R")

ERROR_STATUS = 400


class Reply(NamedTuple, Generic[A]):
    """What an attempt brought: the head of the server's answer, and the answer as the wire has it.

    ``headers`` are pairs of a name in lower case and a value; a name may come twice.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    answer: A

    @property
    def failed(self) -> bool:
        """Whether the status is that of an error."""
        return self.status >= ERROR_STATUS


class Errand(ABC, Generic[A, R]):
    """A request on its way. ``A`` is what its wire brings, ``R`` what whoever asked gets.

    Attributes:
        call: what it is worth and whose it is.
        reservation: its worst case, held at the choke point.
        replayable: whether it can be sent a second time.
    """

    replayable = True
    reservation: Reservation

    def __init__(self, call: Call) -> None:
        self.call = call

    @abstractmethod
    async def transmit(self) -> Reply[A]:
        """Make one attempt; of an error, the whole body has been read.

        Raises:
            httpx2.RequestError, TimeoutError: there was no reply.
        """

    @abstractmethod
    def error(self, reply: Reply[A]) -> httpx2.Response:
        """An error's reply as a response, its body read."""

    @abstractmethod
    def settle(self, reply: Reply[A], meter: Meter, release: Callable[[], None]) -> R:
        """Pay for a success and ``release`` its slot: now, or when a stream has come to its end."""
