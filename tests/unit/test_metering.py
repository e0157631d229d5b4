"""Usage found in answers, and the meter that counts it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpt_magics.errors import BudgetError, UnknownPriceError
from gpt_magics.session.call import Call
from gpt_magics.session.metering import Meter, find_usage
from gpt_magics.spend.budget import Budget
from gpt_magics.spend.prices import Prices
from gpt_magics.spend.tokens import Usage

PRICES = Prices({"m": (1_000_000.0, 2_000_000.0)})  # a dollar a token in, two out
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
FOUND = ("m", "answer-1", Usage(10, 5))


def chat(usage: Any = USAGE, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi."}}
    fields = {"id": "answer-1", "model": "m", "choices": [choice], "usage": usage, **more}
    return json.dumps(fields).encode()


def stream(*events: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events) + end


DELTA = {"id": "answer-1", "model": "m", "choices": [{"delta": {"content": "Hi"}}], "usage": None}
LAST = {"id": "answer-1", "model": "m", "choices": [], "usage": USAGE}
RESPONSE = {
    "id": "answer-1",
    "model": "m",
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (chat(), FOUND),
        (b"\n  " + json.dumps(json.loads(chat()), indent=2).encode(), FOUND),
        (
            chat({**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}),
            (*FOUND[:2], Usage(10, 5, 4)),
        ),
        (chat({**USAGE, "prompt_tokens_details": None}), FOUND),
        (json.dumps(RESPONSE).encode(), (*FOUND[:2], Usage(10, 5, 4))),
        # Embeddings have no output.
        (chat({"prompt_tokens": 8, "total_tokens": 8}), (*FOUND[:2], Usage(8, 0))),
        (chat({"prompt_tokens": 8, "completion_tokens": None}), (*FOUND[:2], Usage(8, 0))),
        (stream(DELTA, DELTA, LAST), FOUND),
        (stream(DELTA, LAST, end=b""), FOUND),
        (stream(DELTA, LAST).replace(b"\n\n", b"\r\n\r\n"), FOUND),
        (stream(DELTA, LAST).replace(b"data: ", b"data:"), FOUND),
        (b'_tokens": 3}}\n\n' + stream(LAST), FOUND),  # a tail that begins in the middle
        (
            b"event: done\n" + stream({"type": "response.completed", "response": RESPONSE}),
            (*FOUND[:2], Usage(10, 5, 4)),
        ),
    ],
)
def test_usage_is_found(body: bytes, found: tuple[str, str, Usage]) -> None:
    assert find_usage(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"usage"',
        b'{"usage": null}',
        b'{"usage": []}',
        b'{"usage": {}}',
        b'[{"usage": {"prompt_tokens": 1}}]',
        b'"usage"',
        b'\xff"usage"\xfe',
        b'{"usage":' + b"[" * 100_000,
        b'data: {"usage": {"prompt_tokens": 1}\n\n',
        b"data: [DONE]\n\n",
        b'<html>"usage"</html>',
        chat(None),
        chat("free"),
        chat({"prompt_tokens": "10", "completion_tokens": 5}),
        chat({"prompt_tokens": -10, "completion_tokens": 5}),
        chat({"prompt_tokens": 10, "completion_tokens": -5}),
        stream(DELTA, DELTA),
        stream({"response": None, "usage": USAGE}),
    ],
)
def test_where_there_is_none_nothing_is_found_and_nothing_raised(body: bytes) -> None:
    assert find_usage(body) is None


@pytest.mark.parametrize(("cached", "kept"), [(99, 10), (-3, 0), ("4", 0), (None, 0), (10, 10)])
def test_cached_tokens_are_within_the_input(cached: Any, kept: int) -> None:
    found = find_usage(chat({**USAGE, "prompt_tokens_details": {"cached_tokens": cached}}))
    assert found is not None
    assert found[2].cached == kept


def test_an_id_or_a_model_of_another_type_is_no_trouble() -> None:
    assert find_usage(chat(id=None, model=5)) == ("5", "", Usage(10, 5))


def new_call(*budgets: Budget, **fields: Any) -> Call:
    known = {"model": "m", "prompt_tokens": 10, "prompt_bytes": 40, "max_tokens": 100}
    return Call("job", budgets=budgets, **{**known, **fields})


def new_meter(limit: float | None = None) -> Meter:
    return Meter(Budget("session", limit), PRICES)


def test_the_worst_case_is_every_byte_a_token_and_the_longest_answer() -> None:
    meter, job = new_meter(), Budget("job")
    meter.reserve(new_call(job))
    assert meter.session.reserved == job.reserved == (40 + 64) * 1 + 100 * 2


def test_a_picture_by_its_address_has_more_tokens_than_bytes() -> None:
    meter = new_meter()
    meter.reserve(new_call(prompt_tokens=1105))
    assert meter.session.reserved == (1105 + 64) + 200


def test_without_a_longest_answer_a_worst_case_is_assumed() -> None:
    meter = new_meter()
    meter.reserve(new_call(max_tokens=None))
    assert meter.session.reserved > 1000


def test_nothing_is_sent_that_a_budget_does_not_cover() -> None:
    meter, job = new_meter(), Budget("job", 100.0)
    with pytest.raises(BudgetError, match="job budget"):
        meter.reserve(new_call(job))
    assert meter.session.reserved == 0


def test_nothing_is_sent_whose_price_is_unknown_under_a_budget() -> None:
    with pytest.raises(UnknownPriceError):
        new_meter(100.0).reserve(new_call(model="nobody-knows"))


def test_an_answer_settles_by_its_usage() -> None:
    meter, job = new_meter(), Budget("job")
    call = new_call(job)
    meter.settle(call, meter.reserve(call), chat())
    assert meter.session.spent == job.spent == call.cost == 20.0
    assert meter.session.reserved == job.reserved == 0.0
    assert (meter.tokens_in, meter.tokens_out, call.usage) == (10, 5, Usage(10, 5))


def test_an_answer_without_usage_is_counted_by_an_estimate() -> None:
    """Otherwise a budget would be no wall on a server that reports nothing."""
    meter = new_meter()
    call = new_call()
    meter.settle(call, meter.reserve(call), chat(None))
    assert call.usage is not None
    assert call.usage.estimated
    assert meter.session.spent > 10
    assert meter.session.reserved == 0.0


def test_what_is_no_answer_costs_nothing() -> None:
    meter = new_meter()
    call = new_call()
    meter.settle(call, meter.reserve(call), b'{"status": "queued", "usage": null}')
    assert (meter.session.spent, meter.session.reserved, call.usage) == (0.0, 0.0, None)


def test_an_unknown_price_is_counted_as_unknown() -> None:
    meter = new_meter()
    call = new_call(model="nobody-knows")
    meter.settle(call, meter.reserve(call), chat())
    assert (meter.session.unpriced, meter.session.spent, call.cost) == (1, 0.0, None)


def test_polls_count_an_answer_once() -> None:
    meter = new_meter()
    for _ in range(3):
        poll = Call("your own code")
        meter.settle(poll, meter.reserve(poll), json.dumps(RESPONSE).encode())
    assert meter.session.spent == 20.0
    assert meter.tokens_in == 10


def test_a_poll_does_not_count_what_its_request_has_settled() -> None:
    meter = new_meter()
    call, poll = new_call(), Call("your own code")
    meter.settle(call, meter.reserve(call), chat())
    meter.settle(poll, meter.reserve(poll), chat())
    assert meter.session.spent == 20.0


def test_a_stream_settles_by_its_last_event() -> None:
    meter = new_meter()
    call = new_call()
    meter.settle_stream(call, meter.reserve(call), stream(DELTA, LAST), events=3)
    assert (call.usage, meter.session.reserved) == (Usage(10, 5), 0.0)


def test_a_stream_that_was_cut_off_settles_by_its_events() -> None:
    meter = new_meter()
    call = new_call()
    meter.settle_stream(call, meter.reserve(call), stream(DELTA, end=b""), events=7)
    assert call.usage == Usage(10, 7, estimated=True)
    assert (meter.session.spent, meter.session.reserved) == (24.0, 0.0)


def test_a_call_that_was_abandoned_pays_its_prompt_once() -> None:
    meter = new_meter()
    call = new_call()
    reservation = meter.reserve(call)
    for _ in range(2):
        meter.settle_abandoned(call, reservation)
    assert (meter.session.spent, meter.session.reserved) == (10.0, 0.0)
