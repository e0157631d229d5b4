"""Foreign failures in our words; and no key in any of them."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import httpx2
import pytest

from gpt_magics.errors import QueueStoppedError, RequestError
from gpt_magics.pacing.retries import Failure, GiveUp, Kind, StopQueue, Verdict, reason_of
from gpt_magics.session.call import Call
from gpt_magics.session.failures import (
    explain,
    failure_of_exception,
    failure_of_response,
    without_keys,
)
from gpt_magics.settings import Connection, Secret

KEY = "AIzaSyTheUsersOwnKey123"
CONNECTION = Connection("https://api.example.com/v1", Secret(KEY))


def failure_of(
    status: int, body: Any, headers: dict[str, str] | None = None, *, wall_now: float = 0.0
) -> Failure:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = httpx2.Response(status, content=content, headers=headers or {})
    return failure_of_response(response, wall_now=wall_now)


def openai_error(code: str | None, message: str, kind: str = "requests") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


REACHED = (
    "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, "
    "Used 29446, Requested 18495. Please try again in 35.883s. Visit https://platform.openai.com"
)


def test_a_rate_limit_tells_when_to_try_again_in_its_message() -> None:
    failure = failure_of(429, openai_error("rate_limit_exceeded", REACHED))
    assert failure == Failure(Kind.STATUS, 429, "rate_limit_exceeded", REACHED, 35.883)


def test_the_header_goes_before_the_message() -> None:
    headers = {"retry-after": "36", "retry-after-ms": "35883"}
    failure = failure_of(429, openai_error("rate_limit_exceeded", "in 9s"), headers)
    assert failure.after == 35.883


def test_a_date_is_read_against_the_time_of_day() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}
    assert failure_of(503, b"", headers, wall_now=1_792_567_680.0).after == 30


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (openai_error("insufficient_quota", "No."), "insufficient_quota", "No."),
        (openai_error(None, "No.", "insufficient_quota"), "insufficient_quota", "No."),
        (openai_error("429", "No.", "insufficient_quota"), "insufficient_quota", "No."),
        ({"error": {"code": 404, "message": "No.", "type": "NotFound"}}, "NotFound", "No."),
        # Gemini: a list of one, and a number for a code.
        ([{"error": {"code": 429, "message": "Quota.", "status": "X"}}], "X", "Quota."),
        ({"error": {"code": 429, "message": "Quota."}}, "429", "Quota."),
        (
            {"object": "error", "message": "No.", "type": "BadRequest", "code": 400},
            "BadRequest",
            "No.",
        ),
        ({"error": "model 'x' not found"}, "", "model 'x' not found"),
        ({"error": None, "message": "No."}, "", "No."),
        ({"detail": "Not Found"}, "", "Not Found"),
        ({"error": {"message": None}}, "", ""),
        ({}, "", ""),
        ([], "", "[]"),
        ("plain", "", "plain"),
        (None, "", "None"),
    ],
)
def test_every_shape_of_an_error_body_is_read(body: Any, code: str, message: str) -> None:
    failure = failure_of(429, body)
    assert (failure.code, failure.message) == (code, message)


def gemini(*details: dict[str, Any]) -> list[dict[str, Any]]:
    error = {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED", "details": details}
    return [{"error": error}]


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "35s"}
OF_THE_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}


def openrouter(status: int, **metadata: Any) -> dict[str, Any]:
    return {"error": {"code": status, "message": "No.", "metadata": metadata}}


@pytest.mark.parametrize(
    ("status", "body", "code", "after"),
    [
        (429, gemini(RETRY_INFO), "RESOURCE_EXHAUSTED", 35),
        (429, gemini(OF_THE_DAY, RETRY_INFO), "quota_of_the_day", 35),
        (402, openrouter(402, limit_source="openrouter_credits"), "402", None),
        (403, openrouter(403, reasons=["x"], flagged_input="y"), "moderation_flagged", None),
        (
            400,
            openrouter(400, error_type="context_length_exceeded"),
            "context_length_exceeded",
            None,
        ),
        (429, openrouter(429, headers={"X-RateLimit-Reset": "1000018000000"}), "429", 18_000),
        (429, openrouter(429, retry_after_seconds=17), "429", 17),
        (429, openrouter(429, headers=["x"], retry_after_seconds=[1]), "429", None),
        (429, {"error": {"message": "No.", "retry_after": 1}}, "", 1),
        (
            429,
            {"error": {"type": "rate_limit_error", "details": {"error_code": "x"}}},
            "rate_limit_error",
            None,
        ),
        (
            429,
            {
                "error": {
                    "type": "rate_limit_error",
                    "details": {"error_code": "enforced_spend_limit_reached"},
                }
            },
            "enforced_spend_limit_reached",
            None,
        ),
        (
            429,
            openai_error("some_new_code", "No.", "insufficient_quota"),
            "insufficient_quota",
            None,
        ),
    ],
)
def test_what_only_the_details_say_is_read(
    status: int, body: Any, code: str, after: float | None
) -> None:
    failure = failure_of(status, body, wall_now=1_000_000_000.0)
    assert (failure.code, failure.after) == (code, after)


NGINX = b"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n</html>"


@pytest.mark.parametrize("body", [NGINX, b"", b"\xff\xfe", b'{"error"', b"[" * 100_000])
def test_what_is_no_json_is_told_by_its_status(body: bytes) -> None:
    failure = failure_of(503, body, {"content-type": "text/html"})
    assert failure == Failure(Kind.STATUS, 503, "", "503 Service Unavailable", None)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx2.ConnectError("refused"), Kind.CONNECT),
        (httpx2.UnsupportedProtocol("gopher"), Kind.CONNECT),
        (httpx2.ProxyError("proxy"), Kind.CONNECT),
        (httpx2.ReadTimeout("slow"), Kind.TIMEOUT),
        (httpx2.ConnectTimeout("slow"), Kind.TIMEOUT),
        (httpx2.PoolTimeout("slow"), Kind.TIMEOUT),
        (TimeoutError(), Kind.TIMEOUT),
        (httpx2.ReadError("reset"), Kind.DISCONNECT),
        (httpx2.RemoteProtocolError("gone"), Kind.DISCONNECT),
        (
            caused(httpx2.ConnectTimeout("gone"), aiohttp.ServerDisconnectedError()),
            Kind.DISCONNECT,
        ),
        (caused(httpx2.ReadTimeout("gone"), aiohttp.ClientOSError(104, "reset")), Kind.DISCONNECT),
        (RuntimeError("odd"), Kind.DISCONNECT),
    ],
)
def test_every_exception_of_the_wire_has_its_kind(error: Exception, kind: Kind) -> None:
    assert failure_of_exception(error).kind is kind


def explained(
    failure: Failure | None,
    verdict: Verdict | None = None,
    *,
    attempts: int = 1,
    connection: Connection = CONNECTION,
) -> RequestError:
    call = Call("cell", model="gpt-9", timeout=60.0)
    call.failure, call.attempts = failure, attempts
    call.verdict = verdict or GiveUp(reason_of(failure or Failure(Kind.DISCONNECT)))
    return explain(call, connection, "api.example.com")


def status(number: int, code: str = "", message: str = "") -> Failure:
    return Failure(Kind.STATUS, number, code, message)


@pytest.mark.parametrize(
    ("failure", "words", "reason"),
    [
        (status(401), "api.example.com refused the API key. Check OPENAI_API_KEY", "wrong key"),
        (status(404, "model_not_found"), "does not know the model 'gpt-9'", "unknown model"),
        (
            status(429, "insufficient_quota", "You exceeded your quota"),
            "api.example.com stopped the account: You exceeded your quota. Nothing more was sent.",
            "credit or spend limit reached",
        ),
        (
            Failure(Kind.CONNECT),
            "Cannot reach https://api.example.com/v1. Check the address",
            "unreachable server",
        ),
        (Failure(Kind.TIMEOUT), "did not answer within 60 s in 3 attempts.", "timeout"),
        (Failure(Kind.DISCONNECT), "broke the connection in 3 attempts.", "disconnect"),
        (None, "broke the connection in 3 attempts.", "disconnect"),
        (
            status(400, "x", "Bad  \n value"),
            "answered 400 (refused (400)): Bad value.",
            "refused (400)",
        ),
        (status(500), "answered 500 (server error) without a message.", "server error"),
        (status(429, "x", "Slow!"), "answered 429 (rate limit): Slow!", "rate limit"),
        (status(400, "x", "{oops} {server}"), ": {oops} {server}.", "refused (400)"),
    ],
)
def test_a_failure_is_one_clear_sentence(failure: Failure | None, words: str, reason: str) -> None:
    error = explained(failure, attempts=3)
    assert words in str(error)
    assert (error.reason, error.attempts) == (reason, 3)
    assert error.status == (failure.status if failure else None)


def test_what_stops_the_queue_has_its_own_class() -> None:
    error = explained(status(401), StopQueue("wrong key"))
    assert type(error) is QueueStoppedError
    assert type(explained(status(500))) is RequestError


def test_a_queue_that_may_go_on_later_says_when() -> None:
    error = explained(status(429, "x", "Come back."), StopQueue("rate limit", 18_000.0))
    assert str(error) == "api.example.com asks to wait 5 h (rate limit): Come back."
    assert (type(error), error.reason) == (QueueStoppedError, "rate limit")


def test_the_reason_is_the_one_that_was_decided() -> None:
    error = explained(status(429, "x", "Wait."), GiveUp("request too large"))
    assert error.reason == "request too large"
    assert "answered 429 (request too large): Wait." in str(error)


def test_a_long_message_is_cut() -> None:
    error = explained(status(400, "x", "word " * 10_000))
    assert len(str(error)) < 400
    assert str(error).endswith("…")


LEAKS = [
    f"Incorrect API key provided: {KEY}. You can find your key at …",
    f"header 'Authorization: Bearer {KEY}' is wrong",
    "Incorrect API key provided: sk-proj-********************abcd.",
    "Bearer abc.def-ghi is not valid",
    "the other key sk-ant-REDACTED-OTHER",
    "gsk_none but gsk-OTHEROTHER",
    f"GET https://api.example.com/v1/models?key={KEY}",
]
SECRETS = [KEY, "abcd", "abc.def", "OTHER"]


@pytest.mark.parametrize("message", LEAKS)
@pytest.mark.parametrize("number", [400, 401, 402, 403, 404, 429, 500, 503])
def test_no_key_is_in_any_error(message: str, number: int) -> None:
    for code in ("", "insufficient_quota", "rate_limit_exceeded"):
        for said in (message, "x" * 290 + message):
            error = explained(status(number, code, said))
            shown = str(error) + repr(error) + repr(error.args) + repr(vars(error))
            assert not any(secret in shown for secret in SECRETS)


def test_a_key_in_the_address_is_not_shown_either() -> None:
    connection = Connection(f"http://host/v1?key={KEY}", Secret(KEY))
    assert KEY not in str(explained(Failure(Kind.CONNECT), connection=connection))


def test_a_key_that_is_a_plain_word_is_no_secret() -> None:
    assert without_keys("ollama does not know x", "ollama") == "ollama does not know x"


def test_without_keys_leaves_other_words_alone() -> None:
    assert (
        without_keys("task-1 risk-averse desk-lamp key-", "") == "task-1 risk-averse desk-lamp key-"
    )
    assert without_keys("nothing here", "") == "nothing here"
