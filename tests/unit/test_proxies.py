"""The environment's proxy, as curl and httpx2 read it."""

from __future__ import annotations

import os

import pytest

from gpt_magics.session.proxies import proxy_for

PROXY = "http://proxy:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_without_one_there_is_none() -> None:
    assert proxy_for("https://api.openai.com/v1") is None


@pytest.mark.parametrize(
    ("variable", "address", "found"),
    [
        ("https_proxy", PROXY, PROXY),
        ("HTTPS_PROXY", PROXY, PROXY),
        ("all_proxy", PROXY, PROXY),
        ("https_proxy", "proxy:3128", PROXY),
        ("http_proxy", PROXY, None),
        ("https_proxy", "", None),
    ],
)
def test_it_goes_by_the_scheme(
    variable: str, address: str, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    assert proxy_for("https://api.openai.com/v1") == found


@pytest.mark.parametrize(
    ("excepted", "url"),
    [
        ("*", "http://anything/v1"),
        ("localhost", "http://localhost:8000/v1"),
        ("corp.example", "http://models.corp.example/v1"),
        (".corp.example", "http://models.corp.example/v1"),
        ("a, 10.1.2.3", "http://10.1.2.3:8000/v1"),
        ("10.0.0.0/8", "http://10.1.2.3:8000/v1"),
        ("fd00::/8", "http://[fd00::1]/v1"),
    ],
)
def test_no_proxy_excepts_hosts_and_networks(
    excepted: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", excepted)
    assert proxy_for(url) is None


@pytest.mark.parametrize("excepted", ["other.example", "10.0.0.0/8", "not/a-network", ""])
def test_others_are_not_excepted(excepted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", excepted)
    assert proxy_for("http://192.168.1.1/v1") == PROXY


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy:3128")
    assert "secret" not in repr(proxy_for("http://host/v1"))
