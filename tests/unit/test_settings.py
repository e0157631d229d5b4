"""Settings: their order, their checks, and that keys stay secret."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import pytest

from gpt_magics.errors import NoKeyError, OptionError
from gpt_magics.settings import OPENAI_URL, Secret, Settings, host_of, load

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-very-secret-0123456789"
VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "GPT_MAGICS_MODEL",
)


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment that set nothing."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("")  # so that none above it is found
    return tmp_path


def test_with_nothing_set_there_are_the_defaults() -> None:
    assert load() == Settings()
    assert load().base_url == OPENAI_URL


def test_the_later_wins_env_file_environment_overrides_options(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_place / ".env").write_text(
        "GPT_MAGICS_MODEL=from-file\nOPENAI_API_KEY=key-of-file\nOPENAI_ORG_ID=org-of-file\n"
    )
    assert load().model == "from-file"
    monkeypatch.setenv("GPT_MAGICS_MODEL", "from-environment")
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-environment")
    loaded = load()
    assert loaded.model == "from-environment"
    assert loaded.api_key == "key-of-environment"
    assert loaded.organization == "org-of-file"
    assert load({"model": "from-config"}).model == "from-config"
    assert load({"model": "from-config"}).with_options(model="from-option").model == "from-option"


def test_the_env_file_is_looked_for_above_the_working_directory(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_place / ".env").write_text("GPT_MAGICS_MODEL=above\n")
    (empty_place / "notebooks").mkdir()
    monkeypatch.chdir(empty_place / "notebooks")
    assert load().model == "above"


def test_an_empty_variable_sets_nothing(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / ".env").write_text("GPT_MAGICS_MODEL=from-file\n")
    monkeypatch.setenv("GPT_MAGICS_MODEL", "")
    assert load().model == "from-file"


def test_an_env_file_that_is_no_utf_8_is_named_and_its_content_is_not(empty_place: Path) -> None:
    (empty_place / ".env").write_text(f"OPENAI_API_KEY={KEY}", encoding="utf-16")
    with pytest.raises(OptionError, match=r"\.env is not UTF-8 text. Save it again") as caught:
        load()
    assert "secret" not in str(caught.value)


def test_none_leaves_an_option_as_it_is() -> None:
    assert Settings(model="mine").with_options(model=None, budget=None).model == "mine"


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().model = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("max_in_flight", "5", 5),
        ("max_in_flight", 5.0, 5),
        ("timeout", "2.5", 2.5),
        ("deadline", 90, 90.0),
        ("budget", 0, 0.0),
        ("temperature", 2, 2.0),
        ("max_tokens", 1, 1),
        ("base_url", " http://localhost:8000/v1/ ", "http://localhost:8000/v1"),
        ("format", "json", "json"),
        ("api_key", f"  {KEY}\n", KEY),
        ("prices", {"m": (1, 2)}, {"m": (1.0, 2.0)}),
        ("system", "Be kind.", "Be kind."),
    ],
)
def test_values_are_kept_in_their_own_type(option: str, value: Any, kept: Any) -> None:
    found = getattr(Settings().with_options(**{option: value}), option)
    assert found == kept
    assert type(found) is type(kept) or isinstance(found, Secret)


@pytest.mark.parametrize(
    ("option", "value", "mend"),
    [
        ("max_in_flight", 0, "max_in_flight must be at least 1; got 0"),
        ("max_in_flight", 2.5, "max_in_flight must be a whole number; got 2.5"),
        ("max_in_flight", "many", "max_in_flight must be a number; got 'many'"),
        ("max_in_flight", True, "max_in_flight must be at least 1; got True"),
        ("max_in_flight", float("nan"), "max_in_flight must be a number"),
        ("max_tokens", 10**400, "max_tokens must be a number"),
        ("max_attempts", -1, "max_attempts must be at least 1"),
        ("timeout", 0, "timeout must be at least 0.001"),
        ("timeout", float("inf"), "timeout must be at least"),
        ("deadline", 0, "deadline must be at least 0.001"),
        ("timeout", "nan", "timeout must be at least"),
        ("budget", -0.01, "budget must be at least 0"),
        ("budget", [1], "budget must be a number"),
        ("temperature", -1, "temperature must be at least 0"),
        ("model", 5, "model must be a text; got 5"),
        ("format", "yaml", "format must be one of markdown, text, json, code; got 'yaml'"),
        ("base_url", "localhost:8000", "base_url must be an http or https address such as"),
        ("base_url", "ftp://host/v1", "base_url must be an http or https address"),
        ("base_url", "http://", "base_url must be an http or https address"),
        ("base_url", "http://host:port/v1", "base_url must be an http or https address"),
        ("base_url", "http://[::1/v1", "base_url must be an http or https address"),
        ("base_url", "https://me:pw@host/v1", "must not hold a user name or password; use api_key"),
        ("api_key", "sk-“quoted”", "Copy it again"),
        ("api_key", "sk-two parts", "Copy it again"),
        ("prices", "cheap", "prices must be a dict such as"),
        ("modle", "x", "There is no option 'modle'. Did you mean model?"),
        ("zzz", "x", "There is no option 'zzz'. Known: model, base_url"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_its_mend(
    option: str, value: Any, mend: str
) -> None:
    with pytest.raises(OptionError) as caught:
        Settings().with_options(**{option: value})
    assert mend in str(caught.value)


def test_a_wrong_variable_is_refused_like_a_wrong_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "api.openai.com")
    with pytest.raises(OptionError, match="base_url"):
        load()


def test_a_key_is_never_shown() -> None:
    settings = Settings().with_options(api_key=KEY)
    shown = [
        repr(settings),
        str(settings),
        repr(settings.api_key),
        repr(settings.connection()),
        f"{settings!r} {settings.api_key!r} {[settings.api_key]}",
        repr(copy.deepcopy(settings)),
        repr(pickle.loads(pickle.dumps(settings))),  # noqa: S301 - our own bytes
    ]
    assert not any("secret" in text for text in shown)
    assert settings.connection().api_key == KEY


def test_that_there_is_no_key_is_shown() -> None:
    assert "api_key=''" in repr(Settings())


@pytest.mark.parametrize("key", [f"{KEY} {KEY}", f"“{KEY}”", f"{KEY}\x00"])
def test_a_broken_key_is_not_in_the_error(key: str) -> None:
    with pytest.raises(OptionError) as caught:
        Settings().with_options(api_key=key)
    assert "secret" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    "url", [KEY, f"https://me:{KEY}@host/v1", f"ftp://me:{KEY}@host", f"host/v1?key={KEY}"]
)
def test_a_key_in_the_wrong_place_is_not_in_the_error(url: str) -> None:
    with pytest.raises(OptionError) as caught:
        Settings().with_options(base_url=url)
    assert "secret" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("url", [OPENAI_URL, "http://192.168.0.5:8000/v1", "https://host/v1"])
def test_a_server_elsewhere_needs_a_key(url: str) -> None:
    with pytest.raises(NoKeyError, match=r"No API key for .*OPENAI_API_KEY"):
        Settings(base_url=url).connection()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8765/v1", "http://localhost:11434/v1", "http://[::1]:8000/v1"]
)
def test_a_server_on_this_machine_needs_none(url: str) -> None:
    assert Settings(base_url=url).connection().api_key == "no-key"


def test_a_server_is_called_by_its_host() -> None:
    assert host_of("http://127.0.0.1:8765/v1") == "127.0.0.1:8765"
    assert Settings().server == "api.openai.com"
