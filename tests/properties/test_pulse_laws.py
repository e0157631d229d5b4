"""A history never loses a row, whatever the rhythm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpt_magics.jobs.pulse import Pulse


@given(
    st.lists(
        st.tuples(st.sampled_from(["beat", "beat", "stop", "go on", "look"]), st.floats(0, 1e4)),
        max_size=80,
    )
)
def test_every_row_is_in_the_history(steps: list[tuple[str, float]]) -> None:
    now = 0.0
    pulse = Pulse(lambda: now)
    beats, running, worked = 0, True, 0.0
    for step, seconds in steps:
        now += seconds
        worked += seconds if running else 0.0
        if step == "beat" and running:
            pulse.beat()
            beats += 1
        elif step == "stop" and running:
            pulse.stop()
            running = False
        elif step == "go on":
            pulse.go_on()
            running = True
        assert sum(pulse.history) == beats
        assert 1 <= len(pulse.history) <= 60
        assert abs(pulse.seconds - worked) < 1e-3
        assert pulse.rate >= 0
