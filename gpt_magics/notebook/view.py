"""The picture of a moment: jobs and session as the plain snapshot that panel and summary show."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from gpt_magics.jobs.job import Job
from gpt_magics.notebook.snapshot import JobView, LaneView, LimitView, SessionView, Snapshot
from gpt_magics.session.headroom import Headroom, LaneHeadroom, headroom, limit_label
from gpt_magics.session.session import Session

_sequence = itertools.count(1)


def snapshot(
    session: Session, jobs: Iterable[Job], *, controls: bool = True, compact: bool = False
) -> Snapshot:
    """Everything that a panel over these jobs shows, at this moment."""
    now = headroom(session)
    return {
        "seq": next(_sequence),
        "compact": compact,
        "controls": controls,
        "lanes": [_lane(lane) for lane in _telling(now.lanes)],
        "jobs": [_job(job, now) for job in jobs],
        "session": _session(now),
    }


def _telling(lanes: Sequence[LaneHeadroom]) -> Sequence[LaneHeadroom]:
    """The lanes with limits or something under way; all, if that would leave none."""
    return [la for la in lanes if la.limits or la.in_flight or la.queued] or lanes


def _lane(lane: LaneHeadroom) -> LaneView:
    return {
        "model": lane.model or "requests without a model",
        "server": lane.server,
        "in_flight": lane.in_flight,
        "queued": lane.queued,
        "state": lane.waiting,
        "limits": [_limit(lane, index) for index in range(len(lane.limits))],
    }


def _limit(lane: LaneHeadroom, index: int) -> LimitView:
    limit = lane.limits[index]
    return {
        "dimension": limit.dimension,
        "label": limit_label(limit),
        "limit": limit.limit,
        "level": limit.level,
        "per_second": limit.rate,
    }


def _job(job: Job, now: Headroom) -> JobView:
    progress = job.progress
    asked = progress.done or 1
    return {
        "id": job.id,
        "title": job.title,
        "model": job.settings.model,
        "state": job.state.value,
        "reason": job.reason,
        "rows": progress.rows,
        "done": progress.done,
        "failed": progress.failed,
        "in_flight": progress.in_flight,
        "queued": progress.queued,
        "retries": progress.retries,
        "retry_reasons": job.retry_reasons.most_common(),
        "failures": Counter(failure.reason for failure in job.failures).most_common(),
        "last_message": job.last_message,
        "cost": progress.cost if progress.cost or progress.cost_known else None,
        "cost_known": progress.cost_known,
        "budget": job.budget.limit,
        "projected": progress.cost / asked * progress.rows if progress.cost else None,
        "tokens_in": progress.tokens_in,
        "tokens_out": progress.tokens_out,
        "rate": round(progress.rate, 2),
        "eta": _eta(job, now),
        "elapsed": progress.seconds,
        "history": job.pulse.history,
    }


def _eta(job: Job, now: Headroom) -> float | None:
    """Seconds left: at the present rate, or as the request limit dictates, whichever is longer.

    A burst that drains the bucket says nothing about the rows behind it.
    """
    progress = job.progress
    if progress.eta is None:
        return None
    left = progress.rows - progress.done - progress.failed
    dictated = [
        (left - limit.level) / limit.rate
        for lane in now.lanes
        if lane.model == job.settings.model and lane.server == job.settings.server
        for limit in lane.limits
        if limit.dimension == "requests"
    ]
    return max([progress.eta, *dictated])


def _session(now: Headroom) -> SessionView:
    return {
        "requests": now.requests,
        "origins": sorted(now.by_origin.items(), key=lambda origin: -origin[1]),
        "refused": now.refused,
        "retries": now.retries,
        "cost": now.cost if now.cost or now.cost_known else None,
        "cost_known": now.cost_known,
        "budget": now.budget,
        "tokens_in": now.tokens_in,
        "tokens_out": now.tokens_out,
    }
