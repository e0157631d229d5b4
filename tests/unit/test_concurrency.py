"""How many may be in flight where no limits are reported."""

from __future__ import annotations

import pytest

from gpt_magics.pacing.concurrency import Concurrency


def grown(cap: Concurrency, answers: int, *, seconds: float | None = None) -> Concurrency:
    for _ in range(answers):
        cap.answered(used=True, seconds=seconds)
    return cap


def against(places: int, answers: int) -> tuple[Concurrency, int]:
    """A server that refuses whoever comes when its places are taken; how many it refused."""
    cap, refused = Concurrency(100), 0
    for _ in range(answers):
        if cap.cap > places:
            refused += 1
            cap.refused(in_flight=places + 1)
        cap.answered(used=True)
    return cap, refused


def test_it_starts_with_eight_and_doubles_with_each_round() -> None:
    cap = Concurrency(100)
    assert cap.cap == 8
    assert grown(cap, 8).cap == 16
    assert grown(cap, 16).cap == 32


def test_a_ceiling_below_eight_holds_from_the_start() -> None:
    assert Concurrency(2).cap == 2


def test_it_never_exceeds_its_ceiling() -> None:
    assert grown(Concurrency(10), 1000).cap == 10


def test_an_unused_cap_proves_nothing() -> None:
    cap = Concurrency(100)
    for _ in range(50):
        cap.answered(used=False)
    assert cap.cap == 8


def test_a_refusal_tells_what_the_server_holds() -> None:
    cap = grown(Concurrency(100), 8)
    assert cap.cap == 16
    assert cap.refused(in_flight=12)
    assert cap.cap == 11, "and not half of what was tried"


def test_what_was_sent_before_the_last_cut_does_not_cut_again() -> None:
    cap = grown(Concurrency(100), 8)
    for in_flight in range(9, 17):
        assert cap.refused(in_flight=in_flight), "nobody else has to wait for these"
        assert cap.cap == 8


def test_a_refusal_within_the_cap_cuts_further() -> None:
    cap = grown(Concurrency(100), 8)
    cap.refused(in_flight=9)
    assert cap.refused(in_flight=6)
    assert cap.cap == 5


@pytest.mark.parametrize("before", [2, 50])
def test_a_refusal_of_a_single_request_is_no_matter_of_the_cap(before: int) -> None:
    cap = Concurrency(100)
    cap.refused(in_flight=before)
    assert not cap.refused(in_flight=1), "so everybody has to wait"


@pytest.mark.parametrize("places", [1, 3, 8, 50])
def test_a_servers_places_are_found_and_kept_with_few_refusals(places: int) -> None:
    cap, refused = against(places, answers=10_000)
    assert places <= cap.cap <= places + 1
    assert 2 <= refused <= 100, "it asks again from time to time, less than once in a hundred"


def test_the_more_often_it_was_refused_the_longer_it_waits_to_try_again() -> None:
    early, late = against(8, answers=2_000)[1], against(8, answers=20_000)[1]
    assert late - early < 9 * early / 2


def test_a_server_that_has_grown_is_found_out() -> None:
    cap, _ = against(8, answers=300)
    assert cap.cap in (8, 9)
    assert grown(cap, 2_000).cap > 15


def test_a_server_with_fewer_places_than_before_does_not_wait_long_to_be_tried_again() -> None:
    cap, _ = against(8, answers=10_000)
    cap.refused(in_flight=4)
    assert cap.cap == 3
    assert grown(cap, 110).cap == 4


def steady(ceiling: int = 16) -> Concurrency:
    """It has reached its ceiling, and answers take a second."""
    cap = grown(Concurrency(ceiling), 20 * ceiling, seconds=1.0)
    assert cap.cap == ceiling
    return cap


def test_answers_that_take_more_than_twice_as_long_shrink_it() -> None:
    """They wait inside the server: more in flight only makes the queue longer."""
    cap = grown(steady(16), 32, seconds=2.5)
    assert 4 <= cap.cap < 16
    assert grown(cap, 4_000, seconds=1_000.0).cap >= 1


def test_the_longer_they_take_the_more_it_shrinks() -> None:
    little, much = (grown(steady(16), 32, seconds=seconds).cap for seconds in (2.5, 50.0))
    assert 1 <= much < little < 16


def test_a_queue_inside_the_server_is_kept_short() -> None:
    """It works on four at a time, each a second: beyond, answers take longer, and no more come."""
    cap, caps = Concurrency(100), []
    for _ in range(3_000):
        cap.answered(used=True, seconds=max(1.0, cap.cap / 4))
        caps.append(cap.cap)
    assert min(caps) >= 4
    assert max(caps) <= 8 * 4


def test_answers_that_take_up_to_twice_as_long_are_fine() -> None:
    assert grown(steady(16), 32, seconds=1.9).cap == 16


def test_a_slow_answer_among_quick_ones_is_fine() -> None:
    cap = steady(16)
    cap.answered(used=True, seconds=10.0)
    assert grown(cap, 40, seconds=1.0).cap == 16


def test_a_server_that_has_become_slower_is_not_held_against_for_ever() -> None:
    """Longer prompts, another model: what was quick fades."""
    cap = grown(steady(64), 150, seconds=3.0)
    assert cap.cap < 64
    assert grown(cap, 6_000, seconds=3.0).cap == 64


def test_open_lifts_it_because_buckets_pace_instead() -> None:
    cap = Concurrency(100)
    cap.open()
    assert cap.cap == 100
    assert grown(cap, 200, seconds=1.0).cap == 100
    assert grown(cap, 200, seconds=60.0).cap == 100, "long answers are no sign then"


def test_lifted_and_refused_it_grows_back_by_one_a_round() -> None:
    cap = Concurrency(100)
    cap.open()
    cap.refused(in_flight=51, sure=False)
    assert cap.cap == 50
    assert grown(cap, 51).cap == 51
    assert grown(cap, 5_000).cap == 100


def test_lifted_and_overloaded_it_keeps_to_what_the_server_holds() -> None:
    cap = Concurrency(100)
    cap.open()
    cap.refused(in_flight=51)
    assert grown(cap, 90).cap == 50
    assert grown(cap, 20).cap == 51, "and tries one more from time to time"


def test_a_lower_ceiling_holds_at_once() -> None:
    cap = Concurrency(100)
    cap.open()
    cap.ceiling = 3
    assert cap.cap == 3
    assert repr(cap) == "<Concurrency 3 of 3>"


def test_a_higher_ceiling_lets_it_grow() -> None:
    cap = grown(Concurrency(10), 100)
    cap.ceiling = 20
    assert cap.cap == 10
    assert grown(cap, 100).cap == 20
