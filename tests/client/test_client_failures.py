"""One clear message for each failure, no key in any of them, and no request too many."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from served import AMPLE, Reply, chat_reply, everything_said, stub
from waiting import eventually

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import GptMagicsError, NoKeyError, QueueStoppedError, RequestError
from gpt_magics.jobs.state import State
from gpt_magics.sandbox import Sandbox, SandboxOptions
from gpt_magics.sandbox.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from served import Serve

KEY = "sk-proj-very-secret-0123456789"


def failure_of(work: Callable[[], Any]) -> GptMagicsError:
    with pytest.raises(GptMagicsError) as caught:
        work()
    assert KEY not in everything_said(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_no_key_is_said_before_anything_is_sent() -> None:
    for work in (
        lambda: gpt_magics.ask("hello"),
        lambda: gpt_magics.batch(["a"]),
        gpt_magics.client,
        gpt_magics.sync_client,
    ):
        error = failure_of(work)
        assert isinstance(error, NoKeyError)
        assert "OPENAI_API_KEY" in str(error)
        assert "api.openai.com" in str(error)


def test_a_server_on_this_machine_needs_no_key(serve: Serve) -> None:
    box = serve()
    gpt_magics.configure(api_key=None)
    assert gpt_magics.ask("hello").text == "hello"
    assert box.stats()["answered"] == 1


def test_a_wrong_key(serve: Serve) -> None:
    box = serve(api_key="right")
    gpt_magics.configure(api_key=KEY)
    error = failure_of(lambda: gpt_magics.ask("hello"))
    assert isinstance(error, QueueStoppedError)
    assert (error.reason, error.status, error.attempts) == ("wrong key", 401, 1)
    assert "refused the API key" in str(error)
    assert box.stats()["requests"] == 1


def test_a_batch_with_a_wrong_key_sends_one_request(serve: Serve) -> None:
    box = serve(api_key="right", latency=0.02)
    gpt_magics.configure(api_key=KEY)
    job = gpt_magics.batch([f"row {number}" for number in range(50)])
    error = failure_of(job.result)
    assert "refused the API key" in str(error)
    assert (job.state, job.reason, job.failures) == (State.STOPPED, "wrong key", [])
    assert box.stats()["requests"] == 1
    assert KEY not in repr(job)


def test_a_key_that_the_server_repeats_is_masked() -> None:
    body = f'{{"error": {{"message": "Incorrect API key provided: {KEY}.", "code": 400}}}}'
    with stub(Reply(400, body.encode())) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        with pytest.raises(RequestError) as caught:
            gpt_magics.ask("hello")
        assert "Incorrect API key provided: [key]." in str(caught.value)
        job = gpt_magics.batch(["a", "b"])
        assert job.result() == [None, None]
        assert KEY not in repr(job) + repr(job.failures) + job.last_message


def test_an_unknown_model(serve: Serve) -> None:
    box = serve()
    error = failure_of(lambda: gpt_magics.ask("hello", model="gpt-nonesuch"))
    assert isinstance(error, QueueStoppedError)
    assert (error.reason, error.status) == ("unknown model", 404)
    assert "does not know the model 'gpt-nonesuch'" in str(error)
    job = gpt_magics.batch(["a", "b", "c"], model="gpt-neither")
    assert isinstance(failure_of(job.result), QueueStoppedError)
    assert box.stats()["requests"] == 2


@pytest.mark.usefixtures("short_backoff")
def test_an_unreachable_server() -> None:
    with socket.socket() as closed:  # bound but not listening: nobody else gets the port
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        gpt_magics.configure(base_url=url, api_key=KEY)
        error = failure_of(lambda: gpt_magics.ask("hello"))
        assert isinstance(error, QueueStoppedError)
        assert f"Cannot reach {url}." in str(error)
        job = gpt_magics.batch(["a", "b", "c"])
        assert f"Cannot reach {url}." in str(failure_of(job.result))
        assert job.reason == "unreachable server"
        assert api.running_session().pacer.in_flight == 0


@pytest.mark.usefixtures("short_backoff")
def test_an_overloaded_proxy_that_speaks_html() -> None:
    page = b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"
    with stub(Reply(503, page, "text/html")) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY, max_attempts=2)
        error = failure_of(lambda: gpt_magics.ask("hello"))
        assert isinstance(error, RequestError)
        assert (error.reason, error.status) == ("server overloaded", 503)
        assert "503" in str(error)
        assert "<" not in str(error)
        assert error.attempts == len(server.requests) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>Sign in to the hotel's network</html>", "text/html"),
        Reply(200, b'{"choices": []}'),
        Reply(200, b"[]"),
        Reply(200, b'{"choices": [{"message": null}]}'),
        Reply(200, b"{"),
    ],
)
def test_an_answer_that_is_none(reply: Reply) -> None:
    with stub(reply) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        error = failure_of(lambda: gpt_magics.ask("hello"))
        assert isinstance(error, RequestError)
        assert error.reason == "malformed answer"
        job = gpt_magics.batch(["a", "b"])
        assert job.result() == [None, None]
        assert [failure.reason for failure in job.failures] == ["malformed answer"] * 2


@pytest.mark.usefixtures("short_backoff")
def test_a_connection_that_breaks_is_tried_again() -> None:
    cut = Reply(200, b'{"choices": [', cut=True)
    with stub(cut, cut, chat_reply("whole")) as server:
        gpt_magics.configure(base_url=server.url, api_key=KEY)
        answer = gpt_magics.ask("hello")
        assert (answer.text, answer.attempts, len(server.requests)) == ("whole", 3, 3)
        assert gpt_magics.limits().retries == 2


@pytest.mark.usefixtures("short_backoff")
def test_every_row_is_answered_in_spite_of_errors_and_hangs(serve: Serve) -> None:
    box = serve(rpm=AMPLE, error_rate=0.05, hang_rate=0.02, seed=3)
    rows = [f"row {number}" for number in range(200)]
    job = gpt_magics.batch(rows, timeout=0.5, max_in_flight=10)
    assert job.result() == rows
    assert job.failures == []
    stats = box.stats()
    assert stats["errors"] > 3
    assert stats["hung"] > 1
    assert job.retry_reasons == {"server error": stats["errors"], "timeout": stats["hung"]}
    assert job.progress.retries == job.retry_reasons.total() == stats["requests"] - 200
    assert gpt_magics.limits().retries == job.progress.retries


def test_own_code_gets_the_same_retries(serve: Serve) -> None:
    seed = first_fates("fails", error_rate=0.5)
    box = serve(error_rate=0.5, seed=seed)
    client = gpt_magics.sync_client()
    assert client.models.list().data
    assert (box.stats()["errors"], box.stats()["answered"]) == (1, 1)


def first_fates(what: str, **rates: float) -> int:
    """A seed by which the first request alone meets ``what``."""
    for seed in range(1000):
        faults = Faults(SandboxOptions(seed=seed, **rates))
        if [getattr(faults.draw(), what) for _ in range(4)] == [True, False, False, False]:
            return seed
    raise AssertionError("no such seed")


@pytest.mark.usefixtures("short_backoff")
def test_a_hung_connection_costs_one_timeout(serve: Serve) -> None:
    box = serve(hang_rate=0.5, seed=first_fates("hangs", hang_rate=0.5))
    answer = gpt_magics.ask("hello", timeout=0.3)
    assert answer.attempts == 2
    assert 0.3 <= answer.seconds < 0.6
    eventually(lambda: box.stats()["aborted"] == 1)


@pytest.mark.usefixtures("short_backoff")
def test_a_request_that_times_out_for_good_says_so(serve: Serve) -> None:
    serve(hang_rate=1.0)
    error = failure_of(lambda: gpt_magics.ask("hello", timeout=0.05))
    assert isinstance(error, RequestError)
    assert (error.reason, error.attempts) == ("timeout", 6)
    assert "did not answer within 0.05 s in 6 attempts" in str(error)


def test_a_row_that_can_never_fit_is_a_failure_of_its_own(serve: Serve) -> None:
    box = serve(tpm=1000)
    job = gpt_magics.batch(["long " * 2000, "short", "short again"])
    assert job.result() == [None, "short", "short again"]
    (failure,) = job.failures
    assert (failure.row, failure.reason, failure.attempts) == (0, "request too large", 1)
    assert "too large" in failure.message
    assert job.state is State.DONE
    assert box.stats()["requests"] == 3


def test_a_failing_row_leaves_the_others_alone() -> None:
    with Sandbox(rpm=AMPLE) as box:
        job = gpt_magics.batch(
            ["a", "half \ud800", "b"], base_url=box.url, model="sandbox-echo", api_key=box.key
        )
        assert job.result() == ["a", None, "b"]
        (failure,) = job.failures
        assert (failure.row, failure.reason, failure.attempts) == (1, "prompt", 0)


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text in me")


def test_a_value_without_a_text_is_a_failure_of_its_row(serve: Serve) -> None:
    box = serve()
    job = gpt_magics.batch([{"a": 1}, {"a": Unspeakable()}, {"a": 3}], "{a}")
    assert job.result() == ["1", None, "3"]
    assert [(failure.row, failure.reason) for failure in job.failures] == [(1, "prompt")]
    assert box.stats()["requests"] == 2
