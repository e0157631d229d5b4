"""The table of what follows from a failure, row by row."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.retries import (
    Failure,
    GiveUp,
    Kind,
    Retry,
    StopQueue,
    Verdict,
    is_refusal,
    judge,
    reason_of,
)


def judged(
    failure: Failure,
    *,
    attempt: int = 1,
    max_attempts: int = 6,
    server_seen: bool = True,
    jitter: float = 1.0,
) -> Verdict:
    return judge(
        failure, attempt=attempt, max_attempts=max_attempts, server_seen=server_seen, jitter=jitter
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
        (status(402), "refused (402)"),
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
        (status(413), "refused (413)"),
        (status(422), "refused (422)"),
        (status(501), "server error"),
    ],
)
def test_these_are_final_for_one_request(failure: Failure, reason: str) -> None:
    assert judged(failure) == GiveUp(reason)


@pytest.mark.parametrize("number", [408, 409, 425, 500, 502, 504, 520, 522, 524])
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
        (status(529), "rate limit"),
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


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.DISCONNECT])
def test_a_lost_answer_is_asked_for_again(kind: Kind) -> None:
    assert judged(Failure(kind)) == Retry(kind.value, 0.5)
    assert judged(Failure(kind), attempt=6) == GiveUp(kind.value)


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
