from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from openai import OpenAI

if TYPE_CHECKING:
    from tests.sandbox.conftest import Opener

PROGRAM = """
import argparse, sys
from gpt_magics.sandbox import command, options
parser = argparse.ArgumentParser()
options.add_arguments(parser)
sys.exit(command.run(parser.parse_args()))
"""


def started(*words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=pipe, stderr=pipe, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_to_set_and_stops_cleanly(number: signal.Signals) -> None:
    running = started("--port", "0", "--rpm", "100")
    try:
        assert running.stdout is not None
        said = [running.stdout.readline() for _ in range(3)]
        url = said[1].strip().removeprefix("export OPENAI_BASE_URL=")
        assert "100 requests in 60 s" in said[0]
        assert said[2].strip() == "export OPENAI_API_KEY=sandbox"
        with OpenAI(base_url=url, api_key="sandbox") as api:
            assert api.models.list().data
        running.send_signal(number)
        out, err = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 0
    assert "1 requests, 1 answered, 0 refused" in out
    assert err == ""


def test_a_taken_port_is_one_line_and_status_2(sandbox: Opener) -> None:
    running = started("--port", str(sandbox().port))
    _out, err = running.communicate(timeout=20)
    assert running.returncode == 2
    assert err.count("\n") == 1
    assert "cannot be used" in err
