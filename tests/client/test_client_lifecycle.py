"""Beginning and end: nothing is left behind, in this process or when a script ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from served import AMPLE
from waiting import eventually

import gpt_magics
from gpt_magics import api
from gpt_magics.errors import GptMagicsError

if TYPE_CHECKING:
    from served import Serve


def sockets() -> int:
    return len(psutil.Process().net_connections())


def threads() -> list[str]:
    return sorted(t.name for t in threading.enumerate() if "sandbox" not in t.name)


def test_closing_leaves_no_thread_and_no_socket(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.01)
    sockets_before, threads_before = sockets(), threads()

    gpt_magics.batch([f"row {number}" for number in range(40)]).result()
    gpt_magics.sync_client().models.list()
    gpt_magics.ask("hello", api_key="another", on_text=lambda _: None)
    abandoned = gpt_magics.batch([f"row {number}" for number in range(1000)])
    eventually(lambda: box.stats()["requests"] > 60)
    assert sockets() > sockets_before
    assert "gpt_magics" in threads()

    api.close()
    assert "gpt_magics" not in threads()
    eventually(lambda: threads() == threads_before)  # those that look up hosts end by themselves
    eventually(lambda: sockets() == sockets_before)
    assert abandoned.ended
    api.close()  # a second time is fine


def test_after_closing_the_next_use_begins_anew(serve: Serve) -> None:
    serve()
    gpt_magics.ask("one")
    first = api.running_session()
    api.close()
    gpt_magics.ask("two")
    assert api.running_session() is not first
    assert gpt_magics.limits().requests == 1


def test_a_client_of_a_closed_session_says_so(serve: Serve) -> None:
    serve()
    client, sync = gpt_magics.client(), gpt_magics.sync_client()
    api.close()

    async def models() -> None:
        await client.models.list()

    with pytest.raises(GptMagicsError, match="session that was closed"):
        asyncio.run(models())
    with pytest.raises(GptMagicsError, match="session that was closed"):
        sync.models.list()
    gc.collect()  # a coroutine that was never awaited would complain now


def test_a_session_is_made_at_first_use_and_shared(serve: Serve) -> None:
    serve()
    assert gpt_magics.client() is gpt_magics.client()
    session = api.running_session()
    gpt_magics.configure(max_in_flight=3, budget=1.0)
    assert api.running_session() is session
    eventually(lambda: session.pacer.max_in_flight == 3)
    assert session.budget.limit == 1.0


def test_a_changed_key_keeps_the_old_client_for_whoever_holds_it(serve: Serve) -> None:
    box = serve(api_key="right")
    old = gpt_magics.client()

    async def models() -> int:
        return len((await old.models.list()).data)

    gpt_magics.configure(api_key="wrong-key")
    assert gpt_magics.client() is not old
    assert asyncio.run(models()) > 3
    assert box.stats()["rejected"] == {}


def script(code: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    return subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_a_plain_script_needs_no_ipython_and_ends_in_silence(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.05)
    done = script(
        f"""
import sys
import gpt_magics
prompts = [f"row {{n}}" for n in range(150)]
options = dict(model="sandbox-echo", base_url={box.url!r}, api_key={box.key!r})
job = gpt_magics.batch(prompts, **options, max_in_flight=100, timeout=60)
print(job.result() == prompts, "IPython" in sys.modules, "pandas" in sys.modules)
"""
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True False False\n", "", 0)
    assert box.stats()["answered"] == 150
    assert box.stats()["max_in_flight"] > 50


def test_a_script_that_ends_in_the_middle_ends_in_silence(serve: Serve) -> None:
    box = serve(rpm=AMPLE, latency=0.2)
    done = script(
        f"""
import gpt_magics
gpt_magics.configure(model="sandbox-echo", base_url={box.url!r}, api_key={box.key!r})
stream = gpt_magics.sync_client().chat.completions.create(
    model="sandbox-echo", messages=[{{"role": "user", "content": "a b c"}}], stream=True
)
next(iter(stream))
job = gpt_magics.batch([f"row {{n}}" for n in range(1000)])
while not job.progress.done:
    pass
print("enough")
"""
    )
    assert (done.stdout, done.stderr, done.returncode) == ("enough\n", "", 0)
    assert 0 < box.stats()["answered"] < 1000
