"""Every error a user of gpt_magics can meet. Each message says what happened and how to mend it."""

from __future__ import annotations


class GptMagicsError(Exception):
    """The base of all errors of gpt_magics. Its text is meant for people and holds no secret."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback: our frames would say nothing more."""
        return [f"{type(self).__name__}: {self}"]


class OptionError(GptMagicsError, ValueError):
    """An option or a setting has a value that cannot work."""


class SourceError(GptMagicsError, ValueError):
    """A batch source cannot be read, or answers cannot be written back to it."""


class PromptError(GptMagicsError, ValueError):
    """A prompt cannot be rendered, for instance because a placeholder is unknown."""


class MissingValueError(PromptError):
    """A row has no value where the prompt names one, so it cannot be asked."""


class NoKeyError(GptMagicsError):
    """There is no API key for a server that needs one."""


class BudgetError(GptMagicsError):
    """The budget does not cover the worst case of a request, so nothing was sent."""


class UnknownPriceError(BudgetError):
    """A budget is set, but the model's price is not known, so the budget cannot be kept."""


class RequestError(GptMagicsError):
    """A request failed for good.

    Attributes:
        reason: a short, stable class of failure, such as ``"rate limit"`` or ``"timeout"``.
        status: the HTTP status, or ``None`` if no response arrived.
        attempts: how many requests were sent for it.
    """

    def __init__(
        self, message: str, *, reason: str, status: int | None = None, attempts: int = 1
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.attempts = attempts


class QueueStoppedError(RequestError):
    """The server said something that makes every further request pointless.

    For instance a wrong key, an empty credit balance or an unknown model. What was queued
    behind the failing request was not sent.
    """


class BrokenStreamError(RequestError):
    """A streamed answer ended early. ``partial`` holds the text that arrived."""

    def __init__(self, message: str, *, partial: str, attempts: int = 1) -> None:
        super().__init__(message, reason="broken stream", attempts=attempts)
        self.partial = partial


class CancelledError(GptMagicsError):
    """The job was cancelled before it was done. What is done is kept."""
