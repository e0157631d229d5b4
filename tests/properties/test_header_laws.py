"""Whatever a server sends, its headers never raise."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gpt_magics.pacing.headers import (
    duration,
    readings,
    retry_after,
    seconds_until,
    try_again_in,
)
from gpt_magics.pacing.retries import (
    RULES,
    Failure,
    GiveUp,
    Kind,
    Outcome,
    Retry,
    StopQueue,
    is_refusal,
    judge,
    reason_of,
)

numbers = st.one_of(
    st.integers().map(str), st.floats().map(str), st.text(), st.sampled_from(["6m0s", "-1", "0s"])
)
windows = ["", "-minute", "-day", "-1h", "-month", "-second"]
names = st.one_of(
    st.builds(
        "x-ratelimit-{}{}-{}{}".format,
        st.sampled_from(["", "api_key-", "a.b-"]),
        st.sampled_from(["limit", "remaining", "reset", "renewalperiod"]),
        st.sampled_from(["requests", "tokens", "project-tokens", "req"]),
        st.sampled_from(windows),
    ),
    st.builds(
        "{}-{}".format,
        st.sampled_from(["ratelimit", "x-ratelimit", "x-tokenlimit", "ratelimitbysize"]),
        st.sampled_from(["limit", "remaining", "reset", "policy"]),
    ),
    st.builds(
        "anthropic-ratelimit-{}-{}".format,
        st.sampled_from(["requests", "tokens", "input-tokens", "output-tokens"]),
        st.sampled_from(["limit", "remaining", "reset"]),
    ),
    st.sampled_from(["ratelimit", "ratelimit-policy", "x-ratelimitbysize-limit-minute"]),
)
structured = st.lists(
    st.one_of(st.sampled_from(['"default"', "r=1", "t=2", "q=9", "w=60", 'qu="x"', ",", ";", " "]))
).map("".join)
numbers = st.one_of(numbers, structured, st.datetimes().map(lambda at: f"{at.isoformat()}Z"))


def go(seconds: float) -> str:
    """Write a duration as Go does."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(hours)}h{int(minutes)}m{rest:.6f}s"


@given(st.floats(0, 1e6))
def test_a_go_duration_round_trips(seconds: float) -> None:
    read = duration(go(seconds))
    assert read is not None
    assert math.isclose(read, seconds, abs_tol=1e-5)


@given(st.one_of(numbers, st.from_regex(r"([0-9.]+(ms|s|m|h|d))*", fullmatch=True)))
def test_any_text_is_a_duration_or_unknown(text: str) -> None:
    read = duration(text)
    assert read is None or 0 <= read < math.inf


@given(
    st.lists(st.tuples(st.one_of(names, st.text()), numbers)),
    st.one_of(st.none(), st.floats(0, 4e9)),
)
def test_any_headers_give_readings_that_make_sense(
    headers: list[tuple[str, str]], wall_now: float | None
) -> None:
    read = readings(headers, wall_now=wall_now)
    assert len({reading.dimension for reading in read}) == len(read)
    for reading in read:
        assert 0 <= reading.remaining <= reading.limit
        assert 0 < reading.limit < math.inf
        assert reading.reset is None or 0 <= reading.reset < math.inf
        assert reading.window is None or 0 < reading.window < math.inf


@given(numbers, st.one_of(st.none(), st.floats(0, 4e9)))
def test_any_text_is_a_reset_or_unknown(text: str, wall_now: float | None) -> None:
    until = seconds_until(text, wall_now)
    assert until is None or 0 <= until < math.inf


dates = st.one_of(
    st.text(),
    st.text("0123456789 :,+-GMTJanMondy"),
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Mon", "Xxx", ""]),
        *[st.integers(-1, 10_000)] * 1,
        st.sampled_from(["Jan", "Foo", "13"]),
        *[st.integers(-1, 10_000)] * 4,
        st.sampled_from(["GMT", "-0000", "+9999", "EST", ""]),
    ),
)


@given(st.one_of(numbers, dates), st.floats(0, 4e9))
@example("Mon, 01 Jan 0001 00:00:00 +2359", 0.0)
def test_any_retry_after_is_a_delay_or_unknown(text: str, wall_now: float) -> None:
    for name in ("retry-after", "retry-after-ms"):
        after = retry_after({name: text}, wall_now=wall_now)
        assert after is None or 0 <= after < math.inf


@given(st.text())
def test_any_message_tells_a_delay_or_nothing(text: str) -> None:
    for message in (text, f"Please try again in {text}"):
        after = try_again_in(message)
        assert after is None or 0 <= after < math.inf


every_code = [code.replace("*", "any_") for rule in RULES for code in rule.codes]
billing = [
    code.replace("*", "any_")
    for rule in RULES
    for code in rule.codes
    if rule.reason == "credit or spend limit reached"
]
failures = st.builds(
    Failure,
    st.sampled_from(Kind),
    st.one_of(st.none(), st.integers(), st.sampled_from([400, 401, 403, 408, 429, 500, 503, 529])),
    st.one_of(st.text(), st.sampled_from(every_code)),
    st.one_of(st.text(), st.sampled_from(["Request too large", "model x not found"])),
    st.one_of(st.none(), st.floats(), st.floats(0, 2000)),
)
attempts = st.integers(1, 10_000)
LONGEST_BACKOFF, LONGEST_DELAY = 120.0, 902.0


circumstances = st.fixed_dictionaries(
    {
        "attempt": attempts,
        "max_attempts": st.integers(1, 1000),
        "server_seen": st.booleans(),
        "jitter": st.floats(0, 1),
        "never_fits": st.booleans(),
    }
)


@given(failures, circumstances)
def test_any_failure_has_a_verdict_within_bounds(
    failure: Failure, circumstances: dict[str, Any]
) -> None:
    verdict = judge(failure, **circumstances)
    assert isinstance(verdict, Retry | GiveUp | StopQueue)
    assert verdict.reason
    if isinstance(verdict, StopQueue):
        assert verdict.after is None or LONGEST_DELAY - 2 < verdict.after < math.inf
    if isinstance(verdict, Retry):
        assert verdict.reason == reason_of(failure)
        assert verdict.whole_lane == is_refusal(failure)
        assert verdict.whole_lane or not verdict.halve_rate
        asked = failure.after if failure.after and 0 < failure.after < math.inf else None
        if asked is None:
            assert 0 < verdict.after <= LONGEST_BACKOFF
        else:
            assert asked <= verdict.after <= min(asked + 2.0, LONGEST_DELAY)


@given(failures, st.sampled_from(billing), attempts)
def test_nothing_is_sent_again_to_who_wants_money(
    failure: Failure, code: str, attempt: int
) -> None:
    refused = Failure(Kind.STATUS, failure.status, code, failure.message, failure.after)
    verdict = judge(refused, attempt=attempt, max_attempts=99, server_seen=True, jitter=1.0)
    assert isinstance(verdict, StopQueue)


@given(failures)
def test_every_attempt_ends_some_time(failure: Failure) -> None:
    last = judge(failure, attempt=4 * 6, max_attempts=6, server_seen=True, jitter=0.0)
    assert not isinstance(last, Retry)


def test_no_billing_row_retries() -> None:
    rows = [rule for rule in RULES if rule.reason == "credit or spend limit reached"]
    assert {rule.outcome for rule in rows} == {Outcome.STOP}
