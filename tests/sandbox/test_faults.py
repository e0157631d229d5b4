from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from gpt_magics.sandbox import SandboxOptions
from gpt_magics.sandbox.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

    from tests.sandbox.conftest import Opener

ASK: Any = [{"role": "user", "content": "Hello"}]


def fates(**options: Any) -> list[Any]:
    faults = Faults(SandboxOptions(**options))
    return [faults.draw() for _ in range(1000)]


def test_a_seed_repeats_its_faults() -> None:
    assert fates(seed=3, error_rate=0.1) == fates(seed=3, error_rate=0.1)
    assert fates(seed=3, error_rate=0.1) != fates(seed=4, error_rate=0.1)


def test_rates_come_out_as_set_and_leave_each_other_alone() -> None:
    few, more = fates(error_rate=0.1), fates(error_rate=0.1, hang_rate=0.3)
    assert 60 < sum(each.fails for each in few) < 140
    assert [each.fails for each in few] == [each.fails for each in more]
    assert 240 < sum(each.hangs for each in more) < 360


def test_latency_stays_within_its_jitter() -> None:
    delays = [each.delay for each in fates(latency=2, jitter=0.5)]
    assert min(delays) >= 1
    assert max(delays) <= 3
    assert len(set(delays)) > 900
    assert {each.delay for each in fates(latency=2)} == {2}


def test_latency_rises_with_the_requests_at_work() -> None:
    faults = Faults(SandboxOptions(latency=2, latency_per_in_flight=0.5))
    assert [faults.draw(at_work).delay for at_work in (0, 1, 4)] == [2, 2.5, 4]


def test_random_500s_are_counted(sandbox: Opener, at_once: Callable[..., list[Any]]) -> None:
    box = sandbox(error_rate=0.3, seed=1)
    outcomes = at_once(box, 50)
    failed = [each for each in outcomes if isinstance(each, openai.InternalServerError)]
    expected = sum(each.fails for each in fates(error_rate=0.3, seed=1)[:50])
    assert len(failed) == box.stats()["errors"] == expected > 0
    assert box.stats()["answered"] == 50 - expected


def test_a_hang_ends_when_the_client_leaves(
    sandbox: Opener,
    client: Callable[..., OpenAI],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    box = sandbox(hang_rate=1)
    with pytest.raises(openai.APITimeoutError):
        client(box, timeout=0.05).chat.completions.create(model="gpt-4o", messages=ASK)
    eventually(lambda: box.stats()["aborted"] == 1)
    stats = box.stats()
    assert (stats["hung"], stats["in_flight"], stats["answered"]) == (1, 0, 0)


def test_closing_ends_what_hangs(
    sandbox: Opener,
    at_once: Callable[..., list[Any]],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    import threading  # noqa: PLC0415

    box = sandbox(hang_rate=1)
    outcomes: list[Any] = []
    asking = threading.Thread(target=lambda: outcomes.extend(at_once(box, 3)))
    asking.start()
    eventually(lambda: box.stats()["hung"] == 3)
    box.close()
    asking.join(5)
    assert [isinstance(each, openai.APIError) for each in outcomes] == [True] * 3


def test_a_client_that_leaves_during_the_latency_is_counted(
    sandbox: Opener,
    client: Callable[..., OpenAI],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    box = sandbox(latency=30)
    with pytest.raises(openai.APITimeoutError):
        client(box, timeout=0.05).chat.completions.create(model="gpt-4o", messages=ASK)
    eventually(lambda: box.stats()["aborted"] == 1)
    assert box.stats()["answered"] == 0


def test_too_many_at_once_meet_a_503(sandbox: Opener, at_once: Callable[..., list[Any]]) -> None:
    box = sandbox(max_in_flight=4, latency=0.05)
    outcomes = at_once(box, 12)
    turned_away = [each for each in outcomes if isinstance(each, openai.InternalServerError)]
    assert {(each.status_code, each.code) for each in turned_away} == {
        (503, "server_is_overloaded")
    }
    stats = box.stats()
    assert stats["max_in_flight"] == 4
    assert stats["overloaded"] == len(turned_away) > 0
    assert stats["refused"] == {}


def test_a_stream_can_break_in_the_middle(sandbox: Opener, client: Callable[..., OpenAI]) -> None:
    box = sandbox(break_stream_rate=1)
    got: list[Any] = []
    with pytest.raises(openai.APIConnectionError):
        got.extend(_chunks(client(box), got))
    assert got
    assert (box.stats()["broken"], box.stats()["answered"]) == (1, 0)


def test_a_client_that_leaves_in_the_middle_of_a_stream_is_counted(
    sandbox: Opener,
    client: Callable[..., OpenAI],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    box = sandbox(tokens_per_second=20)
    with client(box).chat.completions.create(model="gpt-4o", messages=ASK, stream=True) as stream:
        next(iter(stream))
    eventually(lambda: box.stats()["aborted"] == 1)
    assert (box.stats()["answered"], box.stats()["in_flight"]) == (0, 0)


def _chunks(api: OpenAI, got: list[Any]) -> list[Any]:
    for chunk in api.chat.completions.create(model="gpt-4o", messages=ASK, stream=True):
        got.append(chunk)  # noqa: PERF402 - what came before the break is looked at
    return []
