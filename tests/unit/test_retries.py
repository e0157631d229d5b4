"""What follows from a failure, row by row; and people read the table that decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt_magics.pacing.retries import (
    RULES,
    Failure,
    GiveUp,
    Kind,
    Retry,
    Rule,
    StopQueue,
    Verdict,
    is_refusal,
    judge,
    reason_of,
    rule_of,
)


def judged(
    failure: Failure,
    *,
    attempt: int = 1,
    max_attempts: int = 6,
    server_seen: bool = True,
    jitter: float = 1.0,
    never_fits: bool = False,
) -> Verdict:
    return judge(
        failure,
        attempt=attempt,
        max_attempts=max_attempts,
        server_seen=server_seen,
        jitter=jitter,
        never_fits=never_fits,
    )


def status(number: int, code: str = "", message: str = "", after: float | None = None) -> Failure:
    return Failure(Kind.STATUS, number, code, message, after)


NO_MONEY = "credit or spend limit reached"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (status(429, "insufficient_quota", "You exceeded your current quota"), NO_MONEY),
        (status(429, "credit_balance_exhausted"), NO_MONEY),
        (status(429, "billing_hard_limit_reached"), NO_MONEY),
        (status(400, "billing_hard_limit_reached"), NO_MONEY),
        (status(429, "billing_not_active"), NO_MONEY),
        (status(429, "organization_spend_limit_exceeded"), NO_MONEY),
        (status(429, "project_spend_limit_exceeded"), NO_MONEY),
        (status(429, "spend_limit_exceeded", after=60.0), NO_MONEY),
        (status(403, "account_deactivated"), NO_MONEY),
        (status(401, "invalid_api_key"), "wrong key"),
        (status(401), "wrong key"),
        (status(402), NO_MONEY),
        (status(402, "payment_required", "Insufficient credits."), NO_MONEY),
        (status(402, "billing_error"), NO_MONEY),
        (status(429, "enforced_spend_limit_reached"), NO_MONEY),
        (status(429, "organization_usage_limit_exceeded"), NO_MONEY),
        (status(400, "budget_exceeded", "Budget has been exceeded!"), NO_MONEY),
        (status(400, "x", "Your credit balance is too low to access the Anthropic API."), NO_MONEY),
        (status(400, "x", "You have reached your specified API usage limits."), NO_MONEY),
        (status(400, "INVALID_ARGUMENT", "API key not valid. Please pass …"), "wrong key"),
        (status(403, "unsupported_country_region_territory"), "refused (403)"),
        (status(429, "quota_of_the_day", after=18.0), "rate limit"),
        (status(403), "refused (403)"),
        (status(404, "model_not_found"), "unknown model"),
        (status(404, "NotFoundError", "The model `x` does not exist."), "unknown model"),
        (status(404, "api_error", "model 'x' not found, try pulling it"), "unknown model"),
    ],
)
def test_these_stop_the_whole_queue_at_once(failure: Failure, reason: str) -> None:
    assert judged(failure) == StopQueue(reason)


TOO_LARGE = (
    "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, "
    "Requested 40010."
)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (status(429, "rate_limit_exceeded", TOO_LARGE, 20.0), "request too large"),
        (status(400, "x", "This model's maximum context length is 128000"), "request too large"),
        (status(400, "invalid_value"), "refused (400)"),
        (status(404, "", "No such response"), "refused (404)"),
        (status(413), "request too large"),
        (status(413, "rate_limit_exceeded", TOO_LARGE, 9.0), "request too large"),
        (status(400, "context_length_exceeded"), "request too large"),
        (status(400, "invalid_request_error", "prompt is too long: 9 > 8"), "request too large"),
        (status(400, "content_filter", "The response was filtered"), "content filter"),
        (status(400, "400", "…triggering Azure's content management policy."), "content filter"),
        (status(403, "moderation_flagged"), "content filter"),
        (status(403, "x", "Your input was flagged for violence."), "content filter"),
        (status(525), "server error"),
        (status(422), "refused (422)"),
        (status(501), "server error"),
    ],
)
def test_these_are_final_for_one_request(failure: Failure, reason: str) -> None:
    assert judged(failure) == GiveUp(reason)


@pytest.mark.parametrize("number", [408, 409, 425, 500, 502, 504, *range(520, 525)])
def test_these_faults_are_tried_again_by_the_request_alone(number: int) -> None:
    verdict = judged(status(number))
    assert isinstance(verdict, Retry)
    assert verdict.after == 0.5
    assert not verdict.whole_lane
    assert not is_refusal(status(number))


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (status(429), "rate limit"),
        (status(429, "rate_limit_exceeded"), "rate limit"),
        (status(429, "slow_down"), "rate limit"),
        (status(429, "RESOURCE_EXHAUSTED"), "rate limit"),
        (status(529), "server overloaded"),
        (status(529, "overloaded_error"), "server overloaded"),
        (status(503), "server overloaded"),
        (status(503, "slow_down"), "server overloaded"),
        (status(500, "server_is_overloaded"), "server overloaded"),
    ],
)
def test_a_server_without_room_makes_everybody_wait(failure: Failure, reason: str) -> None:
    verdict = judged(failure)
    assert isinstance(verdict, Retry)
    assert (verdict.reason, verdict.whole_lane) == (reason, True)
    assert is_refusal(failure)


def test_an_overloaded_server_is_left_alone_for_longer() -> None:
    plain, overloaded = judged(status(429)), judged(status(503))
    assert isinstance(plain, Retry)
    assert isinstance(overloaded, Retry)
    assert overloaded.after == 4 * plain.after


@pytest.mark.parametrize(("number", "after"), [(429, 0.5), (503, 2.0)])
def test_slow_down_halves_the_rate_of_the_lane(number: int, after: float) -> None:
    verdict = judged(status(number, "slow_down"))
    assert isinstance(verdict, Retry)
    assert (verdict.after, verdict.whole_lane, verdict.halve_rate) == (after, True, True)
    other = judged(status(number))
    assert isinstance(other, Retry)
    assert not other.halve_rate


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.DISCONNECT])
def test_a_lost_answer_is_asked_for_again(kind: Kind) -> None:
    assert isinstance(judged(Failure(kind), attempt=5), Retry)
    assert judged(Failure(kind), attempt=6) == GiveUp(kind.value)


def test_who_has_waited_a_timeout_is_asked_again_at_once() -> None:
    waits = [judged(Failure(Kind.TIMEOUT), attempt=n) for n in (1, 2, 3)]
    assert waits == [Retry("timeout", 0.1), Retry("timeout", 0.5), Retry("timeout", 1.0)]
    assert judged(Failure(Kind.DISCONNECT)) == Retry("disconnect", 0.5)


@pytest.mark.parametrize("number", [429, 503, 500])
def test_a_delay_of_hours_stops_the_queue_and_says_when_to_go_on(number: int) -> None:
    verdict = judged(status(number, after=18_000.0))
    assert verdict == StopQueue(reason_of(status(number)), 18_000.0)
    assert isinstance(judged(status(number, after=900.0)), Retry)


@pytest.mark.parametrize("after", [float("nan"), float("inf"), -1.0])
def test_a_delay_that_cannot_be_says_nothing(after: float) -> None:
    assert judged(status(500, after=after)) == Retry("server error", 0.5)


def test_what_never_fits_is_not_asked_for_for_ever() -> None:
    assert judged(status(429, after=60.0), never_fits=True) == GiveUp("request too large")
    assert isinstance(judged(status(500), never_fits=True), Retry)
    assert judged(status(429, "insufficient_quota"), never_fits=True) == StopQueue(NO_MONEY)


def test_a_server_that_never_answered_is_likely_a_wrong_address() -> None:
    assert judged(Failure(Kind.CONNECT), server_seen=False) == Retry("unreachable server", 0.5)
    assert judged(Failure(Kind.CONNECT), server_seen=False, attempt=2) == StopQueue(
        "unreachable server"
    )


def test_a_server_that_did_answer_gets_all_attempts() -> None:
    assert isinstance(judged(Failure(Kind.CONNECT), attempt=5), Retry)
    assert judged(Failure(Kind.CONNECT), attempt=6) == StopQueue("unreachable server")


def test_one_attempt_means_one() -> None:
    for server_seen in (True, False):
        verdict = judged(Failure(Kind.CONNECT), max_attempts=1, server_seen=server_seen)
        assert verdict == StopQueue("unreachable server")
    assert judged(status(500), max_attempts=1) == GiveUp("server error")


def test_faults_use_up_the_attempts() -> None:
    assert isinstance(judged(status(500), attempt=5), Retry)
    assert judged(status(500), attempt=6) == GiveUp("server error")


def test_being_told_to_wait_counts_a_quarter() -> None:
    assert isinstance(judged(status(429), attempt=23), Retry)
    assert judged(status(429), attempt=24) == GiveUp("rate limit")


def test_the_backoff_doubles_up_to_half_a_minute() -> None:
    waits = [judged(status(500), attempt=n, max_attempts=99) for n in (1, 2, 3, 6, 7, 50)]
    assert [w.after for w in waits if isinstance(w, Retry)] == [0.5, 1, 2, 16, 30, 30]


def test_jitter_spreads_the_backoff_downward() -> None:
    least, most = judged(status(500), jitter=0.0), judged(status(500), jitter=1.0)
    assert isinstance(least, Retry)
    assert isinstance(most, Retry)
    assert (least.after, most.after) == (0.375, 0.5)


@pytest.mark.parametrize(("jitter", "after"), [(0.0, 4.0), (1.0, 5.0)])
def test_the_servers_own_delay_gets_jitter_upward_only(jitter: float, after: float) -> None:
    assert judged(status(429, after=4.0), jitter=jitter) == Retry("rate limit", after, True)  # noqa: FBT003


def test_the_jitter_of_a_long_delay_is_bounded() -> None:
    assert judged(status(429, after=191.0)) == Retry("rate limit", 193.0, True)  # noqa: FBT003


def test_a_delay_of_nothing_says_nothing() -> None:
    assert judged(status(429, after=0.0)) == Retry("rate limit", 0.5, True)  # noqa: FBT003


def test_reasons_are_stable_words() -> None:
    assert reason_of(Failure(Kind.TIMEOUT)) == "timeout"
    assert reason_of(Failure(Kind.DISCONNECT)) == "disconnect"
    assert reason_of(Failure(Kind.CONNECT)) == "unreachable server"


HEAD = (
    "| when | code or type | the message says | reason | what follows | backoff | source |",
    "|-|-|-|-|-|-|-|",
)


def numbers(statuses: frozenset[int] | None) -> str:
    if statuses is None:
        return "any status"
    if len(statuses) > 20:
        return f"{min(statuses)} to {max(statuses)}"
    return ", ".join(map(str, sorted(statuses)))


def line(rule: Rule) -> str:
    """One row of the table in ``docs/failures.md``."""
    follows = rule.outcome.value
    follows += ", half the rate" if rule.halve_rate else ""
    follows += "; at last stop the queue" if rule.stop_at_last else ""
    said = rule.said.replace("|", "\\|")
    cells = (
        numbers(rule.statuses) if rule.kind is Kind.STATUS else rule.kind.value,
        ", ".join(f"`{code}`" for code in rule.codes),
        f"`{said}`" if said else "",
        rule.reason.format(status="*status*"),
        follows,
        rule.backoff.value,
        rule.source,
    )
    return "| " + " | ".join(cells) + " |"


def test_the_table_for_people_is_the_one_that_decides() -> None:
    table = "\n".join((*HEAD, *map(line, RULES)))
    page = Path(__file__).parents[2] / "docs" / "failures.md"
    assert table in page.read_text("utf-8"), f"docs/failures.md should hold:\n{table}"


@pytest.mark.parametrize("rule", RULES, ids=line)
def test_every_row_can_decide(rule: Rule) -> None:
    """No row is hidden behind an earlier one: some failure meets it first."""
    statuses = rule.statuses or {418}
    codes = [code.replace("*", "any_") for code in rule.codes] or ["", "other"]
    messages = [SAYINGS[rule.said]] if rule.said else [""]
    met = [
        rule_of(Failure(rule.kind, status, code, message))
        for status in statuses
        for code in codes
        for message in messages
    ]
    assert rule in met


SAYINGS = {
    r"API key not valid": "API key not valid.",
    r"credit balance is too low|reached your (specified )?(workspace )?API usage limits": (
        "You have reached your API usage limits"
    ),
    r"\bmodel\b[^\n]{0,300}(not found|does not exist)": "model 'x' not found",
    r"content management policy|your input was flagged": "Your input was flagged.",
    r"request too large|maximum context length|prompt is too long"
    r"|exceeds the (maximum number of tokens|context length)": "Prompt is too long",
}
