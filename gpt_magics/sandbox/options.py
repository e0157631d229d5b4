"""The options of the sandbox, the same by name in Python and on the command line."""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from gpt_magics.errors import OptionError

DEFAULT_MODELS = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-5",
    "o4-mini",
)
Dialect = Literal["openai", "azure", "anthropic", "groq", "openrouter", "litellm"]
Overload = Literal["503", "429", "slow_down"]
ECHO_MODEL = "sandbox-echo"
CLI_PORT = 8765
_HIGHEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """What the sandbox allows, how fast it is and what goes wrong in it.

    Attributes:
        port: the port on 127.0.0.1; 0 takes a free one.
        rpm: requests per window and model; ``None`` is no such limit.
        tpm: tokens per window and model.
        rpd: requests per day and model. Its headers replace those of ``rpm``, as with OpenAI.
        window: seconds in which a drained limit is full again.
        fill: how full the buckets are at the start, 0 to 1.
        quantum: seconds over which ``rpm`` and ``tpm`` are enforced as well, although headers
            tell only the limits: with rpm=60 and quantum=1, one request a second. A request for
            more tokens than fit is let in when nothing of the quantum is used.
        dialect: whose headers and 429s it has. "openrouter" and "litellm" count in fixed windows
            instead of refilling evenly; "groq" tells requests a day if there is ``rpd``.
        rival: share of the limits, 0 to 1, that another client with the same key draws, at random
            moments, as far as there is room.
        latency: seconds until an answer starts.
        latency_per_in_flight: seconds more for every other request at work when one is admitted.
        jitter: random share of the latency, 0 to 1.
        error_rate: share of requests that end in a 500.
        hang_rate: share of requests that are never answered.
        break_stream_rate: share of streams that are cut off in the middle.
        max_in_flight: requests at the same time; one more is turned away.
        overload: how: "503" is OpenAI's server_is_overloaded, "429" a proxy's page of HTML
            without rate headers, "slow_down" OpenAI's 429 with that code.
        headers: whether answers carry rate headers (Ollama's, for one, do not).
        api_key: the only key accepted; ``None`` accepts every request.
        models: model names that exist, next to ``sandbox-echo``.
        credit: model requests answered before ``insufficient_quota``.
        tokens_per_second: pace of streams; 0 is as fast as possible.
        answer_tokens: length of prose answers; ``None`` is their natural length.
        polls: how often a slow thing must be asked for until it is completed.
        shared_bucket: one bucket for all requests instead of one per model.
        charge_refused: whether a refused request uses up the limits as well.
        seed: of everything random here.
        upstream: base URL of a server to pass requests on to.
        local_model: answer with a small real model on this machine.
        keep_bodies: remember the latest requests for tests to look at.

    Raises:
        OptionError: a value cannot work.
    """

    port: int = 0
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    window: float = 60.0
    fill: float = 1.0
    quantum: float | None = None
    dialect: Dialect = "openai"
    rival: float = 0.0
    latency: float = 0.0
    latency_per_in_flight: float = 0.0
    jitter: float = 0.0
    error_rate: float = 0.0
    hang_rate: float = 0.0
    break_stream_rate: float = 0.0
    max_in_flight: int | None = None
    overload: Overload = "503"
    headers: bool = True
    api_key: str | None = None
    models: tuple[str, ...] = DEFAULT_MODELS
    credit: int | None = None
    tokens_per_second: float = 0.0
    answer_tokens: int | None = None
    polls: int = 3
    shared_bucket: bool = False
    charge_refused: bool = False
    seed: int = 0
    upstream: str | None = None
    local_model: bool = False
    keep_bodies: bool = True

    def __post_init__(self) -> None:
        """Refuse values that cannot work, by name."""
        for name in ("fill", "rival", "jitter", "error_rate", "hang_rate", "break_stream_rate"):
            self._demand(name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        for name in ("rpm", "tpm", "rpd", "max_in_flight", "answer_tokens"):
            value = getattr(self, name)
            self._demand(name, value is None or value >= 1, "1 or more, or nothing for no limit")
        for name in ("latency", "latency_per_in_flight", "tokens_per_second"):
            value = getattr(self, name)
            self._demand(name, math.isfinite(value) and value >= 0, "0 or more")
        self._demand("window", math.isfinite(self.window) and self.window > 0, "above 0")
        fits = self.quantum is None or 0 < self.quantum <= self.window
        self._demand("quantum", fits, "above 0 and no more than the window, or nothing")
        for name, choices in (("dialect", get_args(Dialect)), ("overload", get_args(Overload))):
            self._demand(name, getattr(self, name) in choices, f"one of {', '.join(choices)}")
        self._demand("polls", self.polls >= 0, "0 or more")
        self._demand("credit", self.credit is None or self.credit >= 0, "0 or more, or nothing")
        self._demand("port", 0 <= self.port <= _HIGHEST_PORT, f"from 0 to {_HIGHEST_PORT}")
        self._demand("models", not isinstance(self.models, str), "a list of names")
        object.__setattr__(self, "models", tuple(self.models))
        self._check_upstream()

    def _demand(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not holds:
            raise OptionError(f"sandbox {name}={getattr(self, name)!r} cannot work: use {wanted}.")

    def _check_upstream(self) -> None:
        if self.upstream is None:
            return
        parts = urlsplit(self.upstream)
        good = parts.scheme in {"http", "https"} and bool(parts.netloc)
        self._demand("upstream", good, "a URL such as http://127.0.0.1:11434/v1")
        if self.local_model:
            raise OptionError("sandbox: choose either upstream or local_model, not both.")
        object.__setattr__(self, "upstream", self.upstream.rstrip("/"))


def options_from(given: dict[str, Any]) -> SandboxOptions:
    """Make options from keywords; an unknown one is an error that names the nearest."""
    known = [each.name for each in dataclasses.fields(SandboxOptions)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f". It has: {', '.join(known)}."
            raise OptionError(f"The sandbox has no option {name!r}{hint}")
    try:
        return SandboxOptions(**given)
    except TypeError as error:
        raise OptionError(f"An option of the sandbox has the wrong type: {error}.") from error


def with_limits(
    options: SandboxOptions,
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    rpd: int | None = None,
) -> SandboxOptions:
    """Return ``options`` with other limits; ``None`` leaves one as it is.

    Raises:
        OptionError: a limit cannot work.
    """
    try:
        return dataclasses.replace(
            options,
            rpm=options.rpm if rpm is None else rpm,
            tpm=options.tpm if tpm is None else tpm,
            rpd=options.rpd if rpd is None else rpd,
        )
    except TypeError as error:
        raise OptionError(f"A limit of the sandbox has the wrong type: {error}.") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` an argument for every option, by the same name."""
    defaults = SandboxOptions()
    for name, (kind, text) in _ARGUMENTS.items():
        default = CLI_PORT if name == "port" else getattr(defaults, name)
        flag = "--" + name.replace("_", "-")
        if kind is not bool:
            parser.add_argument(flag, type=kind, default=default, metavar="N", help=text)
        else:
            action = argparse.BooleanOptionalAction
            parser.add_argument(flag, action=action, default=default, help=text)


def from_arguments(namespace: argparse.Namespace) -> SandboxOptions:
    """Take the options out of parsed arguments.

    Raises:
        OptionError: a value cannot work.
    """
    # A person at a terminal looks at no recorded bodies, so they only cost memory.
    given = {name: getattr(namespace, name) for name in _ARGUMENTS if hasattr(namespace, name)}
    return SandboxOptions(keep_bodies=False, **given)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


# What the command line says about each option, in the order of its help text.
_ARGUMENTS: dict[str, tuple[Any, str]] = {
    "port": (int, f"port on 127.0.0.1; 0 takes a free one (default {CLI_PORT})"),
    "rpm": (int, "requests per minute and model (default: no limit)"),
    "tpm": (int, "tokens per minute and model (default: no limit)"),
    "rpd": (int, "requests per day and model; its headers replace those of --rpm"),
    "window": (float, "seconds in which a drained limit is full again (default 60)"),
    "fill": (float, "how full the limits are at the start, 0 to 1 (default 1)"),
    "quantum": (float, "seconds over which --rpm and --tpm are enforced as well (default: none)"),
    "dialect": (str, f"whose headers and 429s: {', '.join(get_args(Dialect))} (default openai)"),
    "rival": (float, "share of the limits that another client draws, 0 to 1 (default 0)"),
    "latency": (float, "seconds until an answer starts (default 0)"),
    "latency_per_in_flight": (float, "seconds more for every other request at work (default 0)"),
    "jitter": (float, "random share of the latency, 0 to 1 (default 0)"),
    "error_rate": (float, "share of requests that end in a 500 (default 0)"),
    "hang_rate": (float, "share of requests that are never answered (default 0)"),
    "break_stream_rate": (float, "share of streams cut off in the middle (default 0)"),
    "max_in_flight": (int, "requests at the same time; one more is turned away"),
    "overload": (str, f"how --max-in-flight does: {', '.join(get_args(Overload))} (default 503)"),
    "headers": (bool, "rate headers on every answer (default: yes)"),
    "api_key": (str, "the only key accepted (default: any)"),
    "models": (_names, "comma-separated model names that exist"),
    "credit": (int, "answers before the account counts as empty (default: no end)"),
    "tokens_per_second": (float, "pace of streams; 0 is as fast as possible (default 0)"),
    "answer_tokens": (int, "length of prose answers (default: their natural length)"),
    "polls": (int, "polls until a slow thing is completed (default 3)"),
    "shared_bucket": (bool, "one limit for all models together (default: no)"),
    "charge_refused": (bool, "refused requests use up the limits, too (default: no)"),
    "seed": (int, "of everything random here (default 0)"),
    "upstream": (str, "pass requests on to this server, for instance http://127.0.0.1:11434/v1"),
    "local_model": (bool, "answer with a small real model on this machine (default: no)"),
}
