"""One frozen ``Settings``: ``.env``, then the environment, then ``%config``, then options.

The later wins. Options have one name everywhere: ``--max-in-flight`` in a magic is
``max_in_flight=`` in Python and ``GptMagics.max_in_flight`` in ``%config``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from gpt_magics.errors import NoKeyError, OptionError
from gpt_magics.spend.prices import price_table

OPENAI_URL = "https://api.openai.com/v1"
FORMATS = ("markdown", "text", "json", "code")

_VARIABLES = {
    "OPENAI_API_KEY": "api_key",
    "OPENAI_BASE_URL": "base_url",
    "OPENAI_ORG_ID": "organization",
    "OPENAI_PROJECT_ID": "project",
    "GPT_MAGICS_MODEL": "model",
}
_LEAST = {
    "max_in_flight": 1,
    "max_attempts": 1,
    "max_tokens": 1,
    "timeout": 0.001,
    "deadline": 0.001,
    "budget": 0.0,
    "temperature": 0.0,
}
_MOST = {"temperature": 2.0}
_WHOLE = {"max_in_flight", "max_attempts", "max_tokens"}

KEY_LIKE = re.compile(r"\b(sk|rk|pk|gsk|xai|key)-[A-Za-z0-9_\-*]{4,}|Bearer\s+\S+")
"""What looks like an API key, whosever it is."""


class Secret(str):
    """A text that keeps itself out of reprs, and so out of notebook outputs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'" if self else "''"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set.

    Attributes:
        model: the model's name on the server.
        base_url: the server's address, up to and including ``/v1``.
        api_key: the key; never shown.
        organization: OpenAI's organization id, if any.
        project: OpenAI's project id, if any.
        system: a system message for every prompt, if any.
        temperature: 0 to 2, or ``None`` for the server's default.
        max_tokens: the longest answer in tokens, or ``None`` for the server's default.
        max_in_flight: how many requests may be out at once.
        timeout: seconds that one attempt may take once it is sent.
        deadline: seconds that all attempts of a request may take together, waiting for limits left
            out, before it is not sent again; ``None`` for no bound.
        max_attempts: how often a request is sent before it fails; being told to wait counts less.
        budget: US dollars that this session may spend, or ``None``.
        prices: your own prices: ``{model: (input, output)}``, US dollars a million tokens.
        format: how ``%%gpt`` shows an answer: markdown, text, json or code.
    """

    model: str = "gpt-4.1-mini"
    base_url: str = OPENAI_URL
    api_key: Secret = field(default=Secret(""))
    organization: str | None = None
    project: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_in_flight: int = 100
    timeout: float = 60.0
    deadline: float | None = None
    max_attempts: int = 6
    budget: float | None = None
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    format: str = "markdown"

    def with_options(self, **options: Any) -> Settings:
        """A copy with every option that is not ``None`` in place of the present value."""
        given = {name: checked(name, value) for name, value in options.items() if value is not None}
        return replace(self, **given)

    @property
    def server(self) -> str:
        """The server's host, for people."""
        return host_of(self.base_url)

    def connection(self) -> Connection:
        """Where and as whom to connect. Raises ``NoKeyError`` if the server needs a key."""
        key = self.api_key
        if not key:
            if not _is_loopback(self.base_url):
                raise NoKeyError(
                    f"No API key for {self.server}. Put OPENAI_API_KEY=… into the environment or "
                    "a .env file, or run gpt_magics.configure(api_key=getpass.getpass()), which "
                    "keeps it out of the notebook. To try without a key: "
                    "gpt-magics sandbox, then %config GptMagics.base_url = "
                    "'http://127.0.0.1:8765/v1'."
                )
            key = Secret("no-key")  # servers on this machine rarely ask for one; the SDK does
        return Connection(self.base_url, key, self.organization, self.project)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where and as whom: what one SDK client is made for."""

    base_url: str
    api_key: Secret
    organization: str | None = None
    project: str | None = None


def load(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings from ``.env``, the environment, then ``overrides`` (``%config``, ``configure``).

    ``.env`` is looked for in the working directory and above.
    """
    from dotenv import dotenv_values, find_dotenv  # noqa: PLC0415 - 20 ms, only at first use

    settings = Settings()
    path = find_dotenv(usecwd=True)
    try:
        in_file = dotenv_values(path)
    except UnicodeDecodeError:  # PowerShell's ">" writes UTF-16
        raise OptionError(f"{path} is not UTF-8 text. Save it again as UTF-8.") from None
    for variables in (in_file, os.environ):
        named = {name: variables.get(variable) or None for variable, name in _VARIABLES.items()}
        settings = settings.with_options(**named)
    return settings.with_options(**(overrides or {}))


def host_of(base_url: str) -> str:
    """The host, and the port if there is one, for people."""
    return urlsplit(base_url).netloc


def checked(name: str, value: Any) -> Any:
    """An option's value in its own type. Raises ``OptionError`` for one that cannot work."""
    names = [f.name for f in fields(Settings)]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(names)}."
        raise OptionError(f"There is no option {name!r}.{hint}")
    if name == "prices":
        return price_table(value)
    if name in _LEAST:
        return _number(name, value)
    if not isinstance(value, str):
        raise OptionError(f"{name} must be a text; got {value!r}.")
    return _text(name, value)


def _number(name: str, value: Any) -> float | int:
    kind = int if name in _WHOLE else float
    try:
        number = kind(value)
        whole = number == float(value)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name} must be a number; got {value!r}.") from None
    if number > _MOST.get(name, number):
        raise OptionError(f"{name} must be at most {_MOST[name]}; got {value!r}.")
    if isinstance(value, bool) or not _LEAST[name] <= number < float("inf"):
        raise OptionError(f"{name} must be at least {_LEAST[name]}; got {value!r}.")
    if not whole:
        raise OptionError(f"{name} must be a whole number; got {value!r}.")
    return number


def _text(name: str, value: str) -> str:
    if name == "api_key":
        return _key(value)
    if name == "format" and value not in FORMATS:
        raise OptionError(f"format must be one of {', '.join(FORMATS)}; got {value!r}.")
    if name == "base_url":
        return _url(value)
    if name == "model" and not value.strip():
        raise OptionError("model is empty. Give the model's name on the server.")
    return value


def _key(value: str) -> Secret:
    key = value.strip()
    if not key.isascii() or any(c.isspace() or not c.isprintable() for c in key):
        raise OptionError(
            "The API key holds characters that no key has (white space, quotes from a word "
            "processor or the like). Copy it again."
        )
    return Secret(key)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or True)
    except ValueError:
        valid = False
    if not valid:
        raise OptionError(
            f"base_url must be an http or https address such as {OPENAI_URL}; got "
            f"{'something else' if _may_hold_key(value) else repr(value)}."
        )
    if parts.username or parts.password:
        raise OptionError("base_url must not hold a user name or password; use api_key.")
    return value.strip().rstrip("/")


def _may_hold_key(value: str) -> bool:
    return "@" in value or bool(KEY_LIKE.search(value))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
