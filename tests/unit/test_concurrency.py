"""How many may be in flight where no limits are reported."""

from __future__ import annotations

from gpt_magics.pacing.concurrency import Concurrency


def grown(cap: Concurrency, answers: int) -> Concurrency:
    for _ in range(answers):
        cap.answered(in_flight=cap.cap)
    return cap


def test_it_starts_with_four_and_doubles_with_each_round() -> None:
    cap = Concurrency(100)
    assert cap.cap == 4
    assert grown(cap, 4).cap == 8
    assert grown(cap, 8).cap == 16


def test_a_ceiling_below_four_holds_from_the_start() -> None:
    assert Concurrency(2).cap == 2


def test_it_never_exceeds_its_ceiling() -> None:
    assert grown(Concurrency(10), 1000).cap == 10


def test_an_unused_cap_proves_nothing() -> None:
    cap = Concurrency(100)
    for _ in range(50):
        cap.answered(in_flight=1)
    assert cap.cap == 4


def test_a_refusal_halves_it_and_then_it_grows_by_one_a_round() -> None:
    cap = grown(Concurrency(100), 12)
    assert cap.cap == 16
    cap.refused(sent=1.0, now=2.0)
    assert cap.cap == 8
    assert grown(cap, 9).cap == 9
    assert grown(cap, 9).cap < 11


def test_what_was_sent_before_the_last_cut_does_not_cut_again() -> None:
    cap = grown(Concurrency(100), 12)
    for sent in (1.0, 1.5, 2.0):
        cap.refused(sent=sent, now=2.0)
    assert cap.cap == 8
    cap.refused(sent=2.1, now=3.0)
    assert cap.cap == 4


def test_it_never_falls_below_one() -> None:
    cap = Concurrency(100)
    for now in range(20):
        cap.refused(sent=now + 0.5, now=now + 1.0)
    assert cap.cap == 1


def test_open_lifts_it_because_buckets_pace_instead() -> None:
    cap = Concurrency(100)
    cap.open()
    assert cap.cap == 100
    cap.refused(sent=1.0, now=2.0)
    assert grown(cap, 50).cap == 50, "and a refusal after that grows back slowly"


def test_a_lower_ceiling_holds_at_once() -> None:
    cap = Concurrency(100)
    cap.open()
    cap.ceiling = 3
    assert cap.cap == 3
    assert repr(cap) == "<Concurrency 3 of 3>"
