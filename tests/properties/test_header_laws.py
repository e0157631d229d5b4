"""Whatever a server sends, its headers never raise."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from gpt_magics.pacing.headers import duration, readings, retry_after, try_again_in

numbers = st.one_of(
    st.integers().map(str), st.floats().map(str), st.text(), st.sampled_from(["6m0s", "-1", "0s"])
)
names = st.builds(
    "x-ratelimit-{}{}-{}".format,
    st.sampled_from(["", "api_key-", "a.b-"]),
    st.sampled_from(["limit", "remaining", "reset"]),
    st.sampled_from(["requests", "tokens", "project-tokens"]),
)


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


@given(st.lists(st.tuples(st.one_of(names, st.text()), numbers)))
def test_any_headers_give_readings_that_make_sense(headers: list[tuple[str, str]]) -> None:
    for reading in readings(headers):
        assert 0 <= reading.remaining <= reading.limit
        assert 0 < reading.limit < math.inf
        assert reading.reset is None or 0 <= reading.reset < math.inf


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
