"""The static summary: what a reader of the saved notebook, or of a log, gets to see."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, get_args

import pytest

from gpt_magics.notebook.snapshot import JobState, Snapshot
from gpt_magics.notebook.summary import html_summary, plain, text_summary
from gpt_magics.wording import count, duration, exact, money, pace

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = "<img src=x onerror=alert(1)>\"'&</td><script>alert(2)</script>\x1b[31m\u202egnp"

RUN: Snapshot = {
    "seq": 17,
    "compact": False,
    "controls": True,
    "lanes": [
        {
            "model": "gpt-4o-mini",
            "server": "api.openai.com",
            "in_flight": 0,
            "queued": 0,
            "state": "",
            "limits": [
                {
                    "dimension": "requests",
                    "label": "RPM",
                    "limit": 500,
                    "level": 111.9,
                    "per_second": 8.33,
                },
                {
                    "dimension": "tokens",
                    "label": "TPM",
                    "limit": 200_000,
                    "level": 16_000.0,
                    "per_second": 3333.3,
                },
            ],
        }
    ],
    "jobs": [
        {
            "id": "gpt-1",
            "title": "%gpt_batch df.review → df['label']",
            "model": "gpt-4o-mini",
            "state": "stopped",
            "reason": "credit balance exhausted",
            "rows": 400,
            "done": 348,
            "failed": 2,
            "in_flight": 0,
            "queued": 50,
            "retries": 11,
            "retry_reasons": [("rate limit", 8), ("server error", 3)],
            "failures": [("timeout", 1), ("request too large", 1)],
            "last_message": "",
            "cost": 1.0788,
            "cost_known": True,
            "budget": 1.5,
            "projected": 1.24,
            "tokens_in": 120_000,
            "tokens_out": 30_000,
            "rate": 9.9,
            "eta": None,
            "elapsed": 75.2,
            "history": [9, 10, 8, 0, 12],
        }
    ],
    "session": {
        "requests": 512,
        "origins": [("gpt-1", 512)],
        "refused": 3,
        "retries": 11,
        "cost": 1.0788,
        "cost_known": True,
        "budget": None,
        "tokens_in": 120_000,
        "tokens_out": 30_000,
    },
}


def a_run(**changes: Any) -> Snapshot:
    """The run above, with changes to its job."""
    snapshot = copy.deepcopy(RUN)
    snapshot["jobs"][0].update(changes)  # type: ignore[typeddict-item]
    return snapshot


class Reader(HTMLParser):
    """What a browser would see: the tags, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "span":
            self.words.append(" ")
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(params=["text", "html"])
def summary(request: pytest.FixtureRequest) -> Callable[[Any], str]:
    """Both doors: what they say must be the same."""
    if request.param == "text":
        return lambda snapshot: " ".join(text_summary(snapshot).split())
    return lambda snapshot: Reader(html_summary(snapshot)).text


def test_it_says_how_the_run_ended(summary: Callable[[Any], str]) -> None:
    said = summary(RUN)
    for words in (
        "%gpt_batch df.review → df['label']",
        "stopped, credit balance exhausted",
        "348 of 400 rows",
        "not sent",
        "1 min 15 s",
        "$1.0788 of $1.50 budget",
        "9.9 rows/s",
        "11: rate limit 8, server error 3",
        "2: timeout 1, request too large 1",
        "120k tokens in, 30k out",
        "gpt-4o-mini at api.openai.com: 111 of 500 RPM · 16k of 200k TPM",
        "512 requests · 3 refused · 11 retries",
    ):
        assert words in said


def test_who_sent_the_requests_is_told_if_it_was_more_than_one(
    summary: Callable[[Any], str],
) -> None:
    run = a_run()
    run["session"]["origins"] = [("gpt-1", 500), ("your own code", 12)]
    assert "512 requests (gpt-1 500, your own code 12)" in summary(run)


def test_text_is_aligned() -> None:
    lines = text_summary(RUN).splitlines()
    assert lines[0] == (
        "%gpt_batch df.review → df['label'] (gpt-4o-mini): stopped, credit balance exhausted"
    )
    assert lines[1:5] == [
        "  done      348 of 400 rows",
        "  failed    2",
        "  not sent  50",
        "  time      1 min 15 s",
    ]


@pytest.mark.parametrize("state", get_args(JobState))
def test_every_state_is_named(summary: Callable[[Any], str], state: str) -> None:
    said = summary(a_run(state=state, reason=""))
    assert state in said
    assert "credit balance" not in said


@pytest.mark.parametrize(("state", "label"), [("running", "in flight"), ("cancelled", "no answer")])
def test_rows_that_were_sent_are_not_called_unsent(
    summary: Callable[[Any], str], state: str, label: str
) -> None:
    snapshot = a_run(state=state, in_flight=12)
    assert label in summary(snapshot)
    assert "38" in summary(snapshot)


def test_a_run_without_trouble_says_so(summary: Callable[[Any], str]) -> None:
    said = summary(a_run(retries=0, retry_reasons=[], failed=0, failures=[]))
    assert "retries none" in said
    assert "failures" not in said


@pytest.mark.parametrize(
    ("cost", "known", "words"),
    [
        (None, False, "unknown cost of $1.50 budget"),
        (0.0, False, "unknown cost of $1.50 budget"),
        (0.5, False, "≥ $0.50 of $1.50 budget"),
        (0.0, True, "$0.00 of $1.50 budget"),
    ],
)
def test_an_unknown_cost_is_never_zero(
    summary: Callable[[Any], str],
    cost: float | None,
    known: bool,  # noqa: FBT001
    words: str,
) -> None:
    assert words in summary(a_run(cost=cost, cost_known=known))


def test_no_limits_are_not_made_up(summary: Callable[[Any], str]) -> None:
    snapshot = copy.deepcopy(RUN)
    snapshot["lanes"][0]["limits"] = []
    assert "gpt-4o-mini at api.openai.com: no rate-limit headers seen" in summary(snapshot)


def test_nothing_is_said_of_nothing(summary: Callable[[Any], str]) -> None:
    assert summary({}) == "Nothing sent yet."


def test_without_jobs_headroom_and_session_remain(summary: Callable[[Any], str]) -> None:
    said = summary({**RUN, "jobs": []})
    assert said.startswith("limits left gpt-4o-mini")
    assert "512 requests" in said


def hostile_run() -> Snapshot:
    snapshot = a_run(
        title=HOSTILE,
        model=HOSTILE,
        state=HOSTILE,
        reason=HOSTILE,
        last_message=HOSTILE,
        retry_reasons=[(HOSTILE, 8)],
        failures=[(HOSTILE, 1)],
    )
    snapshot["lanes"][0]["model"] = snapshot["lanes"][0]["server"] = HOSTILE
    snapshot["lanes"][0]["limits"][0]["label"] = HOSTILE
    return snapshot


def test_hostile_text_is_inert_in_html() -> None:
    page = Reader(html_summary(hostile_run()))
    assert {"img", "script"}.isdisjoint(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    harmless = Reader(html_summary(a_run(last_message="x")))
    assert page.tags == harmless.tags
    assert "<img src=x onerror=alert(1)>" in page.text


def test_hostile_text_cannot_drive_a_terminal() -> None:
    said = text_summary(hostile_run())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)


def test_a_name_stays_one_short_line() -> None:
    assert plain("a\r\nb\tc\u2028d") == "a b c d"
    assert len(plain("x" * 10_000)) == 400


def test_html_needs_nothing_from_outside() -> None:
    page = html_summary(RUN)
    assert not re.search(r"https?:|url\(|<style|<script|@import", page)


def test_dollars_are_not_typeset_as_formulas() -> None:
    page = html_summary(a_run(title="$x$ \\(y\\)"))
    assert page.count("$") == page.count("<span>$</span>") > 3
    assert "tex2jax_ignore mathjax_ignore" in page


def test_html_reads_when_styles_and_drawings_are_stripped() -> None:
    page = re.sub(r"<svg.*?</svg>| (style|class)=\"[^\"]*\"", "", html_summary(RUN))
    assert "<th>done</th><th>failed</th><th>not sent</th>" in page
    assert "<td>348 of 400 rows</td><td>2</td><td>50</td>" in page


def test_money() -> None:
    said = [money(x) for x in (0, 0.000123, 0.07, 1.0788, 1.5, 12.345, 1234.5, None)]
    assert said == [
        "$0.00",
        "$0.00012",
        "$0.07",
        "$1.0788",
        "$1.50",
        "$12.35",
        "$1,234.50",
        "unknown cost",
    ]
    assert money(float("nan")) == "unknown cost"


def test_counts() -> None:
    said = [count(x) for x in (0, 1_204, 9_999.6, 16_000, 16_432, 999_950, 1_234_567)]
    assert said == ["0", "1,204", "10k", "16k", "16.4k", "1M", "1.2M"]
    assert exact(1_234_567) == "1,234,567"


def test_durations() -> None:
    said = [duration(s) for s in (0, 0.04, 0.84, 6, 59.7, 75.2, 3_600, 3_661, 90_000)]
    assert said == [
        "0 s",
        "40 ms",
        "0.8 s",
        "6 s",
        "1 min",
        "1 min 15 s",
        "1 h",
        "1 h 1 min",
        "1 d 1 h",
    ]


def test_paces() -> None:
    assert [pace(x) for x in (0, 9.9, 0.05, 0.001)] == [
        "0 rows/s",
        "9.9 rows/s",
        "3 rows/min",
        "3.6 rows/h",
    ]
    assert pace(3333.3, "") == "3,333/s"
