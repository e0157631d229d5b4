"""A job from start to end: order, control, failures as data, answers brought home."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from served import AMPLE, contents
from waiting import eventually

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import CancelledError, GptMagicsError, SourceError
from gpt_magics.jobs.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from served import Serve

    from gpt_magics import Job

ROWS = [f"row {number}" for number in range(30)]


def frame(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=range(100, 100 + len(next(iter(columns.values())))))


def holding_the_loop() -> threading.Event:
    """Keep the session's loop from turning until the event is set."""
    free = threading.Event()
    api.running_session().thread.loop.call_soon_threadsafe(free.wait, 5)
    return free


def test_answers_come_in_row_order_whatever_comes_first(serve: Serve) -> None:
    serve(rpm=AMPLE, latency=0.03, jitter=1.0)
    job = gpt_magics.batch(ROWS)
    assert job.result() == ROWS
    assert job.result() == ROWS
    assert (job.state, job.progress.done, job.progress.queued) == (State.DONE, 30, 0)
    assert [answer.text for answer in job.answers if answer] == ROWS
    assert f"<Job {job.id} done · 30 of 30 rows done" in repr(job)


@pytest.mark.parametrize("source", [[], pd.DataFrame({"a": []})], ids=["list", "frame"])
def test_no_rows_are_no_work(serve: Serve, source: Any) -> None:
    box = serve()
    prompt = None if isinstance(source, list) else "{a}"
    assert gpt_magics.batch(source, prompt).result() == []
    assert box.stats()["requests"] == 0


def test_a_list_of_dicts_and_the_callers_names(serve: Serve) -> None:
    serve()
    rows = [{"who": "Ada", "what": "engines"}, {"who": "Alan", "what": "codes"}]
    job = gpt_magics.batch(rows, "{greeting} {who}: {what}", names={"greeting": "Dear"})
    assert job.result() == ["Dear Ada: engines", "Dear Alan: codes"]
    assert job.frame[1] == {"who": "Alan", "what": "codes", "answer": "Dear Alan: codes"}


def test_answers_are_written_in_place_by_position(serve: Serve) -> None:
    serve()
    df = frame(review=["good", "bad", "fine"])
    same = df
    gpt_magics.batch(df, "{review}!", into="label").result()
    assert same is df
    assert df.label.tolist() == ["good!", "bad!", "fine!"]
    assert df.index.tolist() == [100, 101, 102]


def test_a_repeated_index_is_no_obstacle(serve: Serve) -> None:
    serve()
    df = pd.DataFrame({"review": ["a", "b", "c"]}, index=[7, 7, 7])
    gpt_magics.batch(df, "{review}", into="label").result()
    assert df.label.tolist() == ["a", "b", "c"]


def test_rows_beyond_the_limit_keep_what_they_have(serve: Serve) -> None:
    box = serve()
    df = frame(review=["a", "b", "c", "d"], label=["old", "old", "old", "old"])
    job = gpt_magics.batch(df, "{review}", into="label", limit=2)
    assert job.result() == ["a", "b", None, None]
    assert df.label.tolist() == ["a", "b", "old", "old"]
    assert box.stats()["requests"] == job.rows == 2


def test_missing_values_are_failures_and_are_not_sent(serve: Serve) -> None:
    box = serve()
    df = frame(review=["a", None, float("nan"), pd.NA, pd.NaT, "", "b"], label=["old"] * 7)
    job = gpt_magics.batch(df, "{review}", into="label")
    assert job.result() == ["a", None, None, None, None, "", "b"]
    assert [failure.row for failure in job.failures] == [1, 2, 3, 4]
    assert {failure.reason for failure in job.failures} == {"missing value"}
    assert df.label.tolist() == ["a", None, None, None, None, "", "b"]
    assert box.stats()["requests"] == 3


def test_a_frame_changed_under_way_does_not_change_what_is_asked(serve: Serve) -> None:
    serve(rpm=600, fill=0.0)
    df = frame(review=["a", "b", "c"])
    job = gpt_magics.batch(df, "{review}", into="label")
    df["review"] = "changed"
    assert job.result() == ["a", "b", "c"]
    assert df.label.tolist() == ["a", "b", "c"]


def test_a_frame_with_other_rows_is_not_written_to(serve: Serve) -> None:
    serve()
    df = frame(review=["a", "b", "c"])
    job = gpt_magics.batch(df, "{review}", into="label")
    df.loc[7] = ["d"]
    with pytest.raises(SourceError, match="had 3 rows when the job began and has 4"):
        job.result()
    assert "label" not in df
    assert job.texts == ["a", "b", "c"]


def test_a_series_has_answers_in_a_frame_of_its_own(serve: Serve) -> None:
    serve()
    job = gpt_magics.batch(pd.Series(["a", "b"], name="review"), "{review} {text}")
    assert job.result() == ["a a", "b b"]
    assert job.frame.to_dict("list") == {"review": ["a", "b"], "answer": ["a a", "b b"]}
    with pytest.raises(SourceError, match="lost"):
        gpt_magics.batch(pd.Series(["a"], name="review"), "{review}", into="label")


def under_way(job: Job, done: int = 3) -> Job:
    eventually(lambda: job.progress.done >= done)
    return job


def test_cancel_keeps_what_is_done_and_resume_does_the_rest(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.01)
    df = frame(review=list(ROWS), label=["old"] * 30)
    job = under_way(gpt_magics.batch(df, "{review}", into="label", max_in_flight=2))
    job.cancel()
    with pytest.raises(CancelledError, match="rows are done and kept"):
        job.result()
    done = job.progress.done
    assert job.state is State.CANCELLED
    assert 3 <= done < 30
    assert df.label.tolist() == [text or "old" for text in job.texts]
    assert df.label.tolist().count("old") == 30 - done
    job.cancel()  # a second time is fine
    job.resume()
    assert job.result() == ROWS == df.label.tolist()
    assert box.stats()["answered"] <= 32  # what was in flight may have been answered in vain
    assert job.state is State.DONE


def test_pause_starts_nothing_new_and_resume_goes_on(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.01)
    job = under_way(gpt_magics.batch(ROWS, max_in_flight=3))
    job.pause()
    eventually(lambda: job.state is State.PAUSED)
    assert job.progress.in_flight == 0
    assert job.progress.done == box.stats()["answered"] < 30  # those in flight came to their end
    assert not job.ended
    sent = box.stats()["requests"]
    gpt_magics.ask("meanwhile")
    assert box.stats()["requests"] == sent + 1
    job.resume()
    assert job.result() == ROWS
    assert sorted(contents(box)) == sorted([*ROWS, "meanwhile"])  # no row was asked twice


def test_a_paused_job_can_be_cancelled(serve: Serve) -> None:
    serve(rpm=AMPLE, latency=0.01)
    job = under_way(gpt_magics.batch(ROWS, max_in_flight=3))
    job.pause()
    eventually(lambda: job.state is State.PAUSED)
    job.cancel()
    with pytest.raises(CancelledError):
        job.result()


def test_a_job_that_waits_for_its_limit_pauses_at_once(serve: Serve) -> None:
    box = serve(rpm=60, fill=3 / 60)
    job = under_way(gpt_magics.batch(ROWS))
    job.pause()
    eventually(lambda: job.state is State.PAUSED, seconds=0.5)
    assert (job.progress.queued, api.running_session().pacer.in_flight) == (27, 0)
    assert box.stats()["requests"] <= 4
    job.cancel()


def test_a_job_cancelled_before_its_first_turn_sends_nothing(serve: Serve) -> None:
    box = serve()
    free = holding_the_loop()
    job = gpt_magics.batch(ROWS)
    job.cancel()
    free.set()
    with pytest.raises(CancelledError):
        job.result()
    assert (box.stats()["requests"], api.running_session().pacer.in_flight) == (0, 0)
    job.resume()
    assert job.result() == ROWS


def after_turns(turns: int, action: Callable[[], None]) -> None:
    """Act on the session's loop, so many of its turns after what waits for it already."""
    loop = api.running_session().thread.loop

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            action()

    loop.call_soon_threadsafe(turn, turns)


@pytest.mark.parametrize("turns", range(4))
def test_a_job_cancelled_before_its_workers_began_ends_all_the_same(
    serve: Serve, turns: int
) -> None:
    box = serve()
    free = holding_the_loop()
    job = gpt_magics.batch(ROWS)
    after_turns(turns, job.cancel)
    free.set()
    with pytest.raises(CancelledError):
        job.result()
    assert box.stats()["requests"] <= 1
    job.resume()
    assert job.result() == ROWS


@pytest.mark.parametrize("turns", range(4))
def test_no_row_is_lost_by_a_quick_pause_and_resume(serve: Serve, turns: int) -> None:
    box = serve()
    free = holding_the_loop()
    job = gpt_magics.batch(ROWS)

    def pause_and_resume() -> None:
        job.pause()
        job.resume()

    after_turns(turns, pause_and_resume)
    free.set()
    assert job.result() == ROWS
    assert job.state is State.DONE
    assert sorted(contents(box)) == sorted(ROWS)


def test_await_in_an_event_loop_of_the_users(serve: Serve) -> None:
    serve(rpm=AMPLE, latency=0.02)

    async def work() -> tuple[list[str | None], int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1

        beating = asyncio.create_task(beat())
        answers = await gpt_magics.batch(ROWS, max_in_flight=10)
        beating.cancel()
        return answers, beats

    answers, beats = asyncio.run(work())
    assert answers == ROWS
    assert beats > 3  # the loop was free meanwhile


def test_awaiting_a_stopped_job_raises(serve: Serve) -> None:
    serve(credit=0)

    async def work() -> None:
        await gpt_magics.batch(ROWS)

    with pytest.raises(GptMagicsError, match="quota"):
        asyncio.run(work())


def test_several_threads_wait_for_several_jobs(serve: Serve) -> None:
    serve(rpm=AMPLE, latency=0.01)
    with ThreadPoolExecutor(6) as threads:
        found = list(
            threads.map(
                lambda n: gpt_magics.batch([f"{n} {row}" for row in ROWS]).result(), range(6)
            )
        )
    assert found == [[f"{number} {row}" for row in ROWS] for number in range(6)]


def test_closing_ends_a_job_and_says_so(serve: Serve) -> None:
    serve(rpm=AMPLE, latency=0.01)
    job = under_way(gpt_magics.batch(ROWS, max_in_flight=2))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(job.result)
        api.close()
        with pytest.raises(CancelledError):
            waiting.result(5)
    assert job.state is State.CANCELLED
    job.cancel()  # there is nothing left to cancel, and nothing is wrong with that
    with pytest.raises(GptMagicsError, match="session that was closed"):
        job.resume()
    assert job.state is State.CANCELLED
    assert [text for text in job.texts if text] == ROWS[: job.progress.done]
