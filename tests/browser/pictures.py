"""Pictures of a run, as the kernel would send them to the panel."""

from __future__ import annotations

import copy
from typing import Any

LANE: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "server": "api.openai.com",
    "in_flight": 12,
    "queued": 38,
    "state": "waiting 1.2 s for tokens",
    "limits": [
        {
            "dimension": "requests",
            "label": "RPM",
            "limit": 500,
            "level": 111.0,
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
JOB: dict[str, Any] = {
    "id": "gpt-1",
    "title": "%gpt_batch df.review → df['label']",
    "model": "gpt-4o-mini",
    "state": "running",
    "reason": "",
    "rows": 400,
    "done": 348,
    "failed": 2,
    "in_flight": 12,
    "queued": 38,
    "retries": 11,
    "retry_reasons": [["rate limit", 8], ["server error", 3]],
    "failures": [["timeout", 1], ["request too large", 1]],
    "last_message": "row 212: 429 rate limit reached, trying again in 1.2 s",
    "cost": 1.0788,
    "cost_known": True,
    "budget": 1.5,
    "projected": 1.24,
    "tokens_in": 120_000,
    "tokens_out": 30_000,
    "rate": 9.9,
    "eta": 6.0,
    "elapsed": 35.1,
    "history": [
        *(3, 7, 9, 10, 8, 9, 9, 10, 11, 9, 8, 7, 9, 10, 10, 12, 11, 10, 9, 10, 4, 2, 0, 0),
        *(5, 9, 10, 11, 10, 9, 10, 10, 9, 8, 10, 9, 10, 11, 9, 10, 8, 9, 11, 10),
    ],
}
SESSION: dict[str, Any] = {
    "requests": 512,
    "origins": [("gpt-1", 480), ("your own code", 32)],
    "refused": 3,
    "retries": 11,
    "cost": 1.0788,
    "cost_known": True,
    "budget": None,
    "tokens_in": 120_000,
    "tokens_out": 30_000,
}
RUN: dict[str, Any] = {
    "seq": 17,
    "compact": False,
    "controls": True,
    "lanes": [LANE],
    "jobs": [JOB],
    "session": SESSION,
}


def a_job(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(JOB), **changes}


def a_lane(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(LANE), **changes}


def a_run(**changes: Any) -> dict[str, Any]:
    """The run above, with changes to its job."""
    return {**RUN, "jobs": [a_job(**changes)]}
