from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from gpt_magics.errors import OptionError
from gpt_magics.sandbox import Sandbox, SandboxOptions
from gpt_magics.sandbox.options import add_arguments, from_arguments


def parsed(*words: str) -> SandboxOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(words))


@pytest.mark.parametrize(
    "wrong",
    [
        {"fill": 1.5},
        {"error_rate": -0.1},
        {"rpm": 0},
        {"tpm": -5},
        {"latency": float("nan")},
        {"window": 0},
        {"port": 70_000},
        {"polls": -1},
        {"credit": -1},
        {"upstream": "localhost:11434"},
        {"upstream": "http://127.0.0.1:1/v1", "local_model": True},
        {"models": "gpt-4o"},
        {"quantum": 0},
        {"quantum": 61},
        {"quantum": 3, "window": 2},
        {"quantum": float("nan")},
        {"dialect": "ollama"},
        {"rival": 1.5},
        {"rival": -0.1},
        {"overload": "500"},
        {"overload": 429},
        {"latency_per_in_flight": -1},
    ],
)
def test_a_value_that_cannot_work_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Sandbox(**wrong)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'latency'"):
        Sandbox(latncy=1)


def test_a_value_of_the_wrong_type_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="wrong type"):
        Sandbox(rpm="600")


def test_there_is_no_host_option() -> None:
    with pytest.raises(OptionError, match="no option 'host'"):
        Sandbox(host="0.0.0.0")  # noqa: S104
    with pytest.raises(SystemExit):
        parsed("--host", "0.0.0.0")  # noqa: S104


def test_the_command_line_has_every_option_by_the_same_name() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = {action.dest for action in parser._actions} - {"help"}  # noqa: SLF001
    names = {each.name for each in dataclasses.fields(SandboxOptions)}
    assert flags == names - {"keep_bodies"}


def test_arguments_become_options() -> None:
    options = parsed("--rpm", "600", "--fill", "0", "--no-headers", "--models", "a, b")
    assert (options.rpm, options.fill, options.headers) == (600, 0.0, False)
    assert options.models == ("a", "b")
    assert (options.port, options.keep_bodies) == (8765, False)


def test_the_shapes_of_limits_can_be_set_on_the_command_line() -> None:
    words = "--quantum 1 --dialect azure --rival 0.3 --overload slow_down"
    options = parsed(*words.split(), "--latency-per-in-flight", "0.05")
    assert (options.quantum, options.dialect, options.rival) == (1, "azure", 0.3)
    assert (options.overload, options.latency_per_in_flight) == ("slow_down", 0.05)


def test_importing_the_sandbox_does_not_import_aiohttp() -> None:
    code = "import sys, gpt_magics.sandbox.options; print('aiohttp' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
