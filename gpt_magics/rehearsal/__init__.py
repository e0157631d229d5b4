"""How long would it take? The client's own pacing and the sandbox's limits on a virtual clock.

Nothing is sent and nothing waits: a million requests take half a minute, a billion a few seconds,
as then a part is simulated and the rest follows from it.
"""

from __future__ import annotations

from gpt_magics.rehearsal.outcome import Outcome, rehearse
from gpt_magics.rehearsal.plan import Plan

__all__ = ["Outcome", "Plan", "rehearse"]
