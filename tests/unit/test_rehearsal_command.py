"""`gpt-magics rehearse`: a few plain lines, or one that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gpt_magics.cli import main
from gpt_magics.errors import OptionError
from gpt_magics.rehearsal import Outcome, Plan, plot, rehearse
from gpt_magics.rehearsal.command import number, whole
from gpt_magics.rehearsal.plot import ROWS, picture, ten_times
from gpt_magics.rehearsal.words import report


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures whose lines are drawn from few rows."""
    monkeypatch.setattr(plot, "_MOST", 2000)


def told(capsys: pytest.CaptureFixture[str], words: str) -> dict[str, str]:
    """What the command says, by the word in front."""
    assert main(["rehearse", *words.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:10].strip(): line[10:] for line in lines}


def test_it_says_time_cost_bound_and_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "3,000 --rpm 500 --tpm 200k --tokens 400 --model gpt-4.1-mini")
    time = said.pop("Time")
    assert time.startswith("5 min")
    assert time.endswith("rows/s); no client could beat 5 min 1 s")
    assert said == {
        "Cost": "$0.96 with gpt-4.1-mini: 1.2M tokens in, 300k out",
        "Bound by": "the limit of 500 requests a minute",
        "Refusals": "none expected in 3,000 requests",
        "Assumed": "prompts of 400 tokens, answers of 100, there after 1 s",
    }


def test_an_unknown_price_is_said_to_be_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "1 --model nobody-sells-this")
    assert said["Cost"] == "unknown cost with nobody-sells-this: 500 tokens in, 100 out"
    assert said["Bound by"] == "nothing but the time of an answer"
    assert said["Assumed"].endswith("no limits")


def test_what_may_be_in_flight_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "200 --max-in-flight 5 --latency 0.2")
    assert said["Bound by"] == "requests in flight (at most 5)"
    said = told(capsys, "200 --capacity 5 --latency 0.2 --no-headers")
    assert said["Bound by"] == "what the server answers at the same time (5)"
    assert "(" in said["Refusals"]


def test_rows_that_fail_are_said_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "60 --rpd 50 --fill 0")
    assert said["Failures"] == "60 rows of 60; the queue stops (rate limit)"


def test_a_part_is_said_to_be_a_part() -> None:
    plan = Plan(rows=1_000_000, rpm=5000)
    outcome = rehearse(plan, most=4000)
    assert isinstance(outcome, Outcome)
    assert "Simulated 4,000 rows; the rest follows from them" in report(plan, outcome)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("x", "ROWS must be a number from 0, such as 500, 30k or 1e9; got 'x'."),
        ("2.5", "ROWS must be a whole number; got '2.5'."),
        ("0", "rows=0 cannot work"),
        ("10 --rpm -5", "--rpm must be a number"),
        ("10 --latency 70", "latency=70.0 cannot work"),
        ("10 --fill 2", "fill=2.0 cannot work"),
        ("10 --tpm 100", "a request takes 500 tokens"),
        ("10 --plot /no/such/place.svg", "--plot: cannot write /no/such/place.svg"),
    ],
)
def test_wrong_values_give_one_clear_line(
    capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    assert main(["rehearse", *words.split()]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_numbers_are_read_as_people_write_them() -> None:
    wanted = {"500": 500, "30k": 30_000, "1.5M": 1_500_000, "1e9": 10**9, "1_000": 1000, "2B": 2e9}
    assert {text: number("n", text) for text in wanted} == wanted
    assert whole("n", "0.2k") == 200
    for text in ("", "k", "1e999", "nan", "1 000", "0x10", "--1"):
        with pytest.raises(OptionError):
            number("n", text)


@pytest.mark.usefixtures("_coarse")
def test_a_picture_names_its_lines_and_scales() -> None:
    plans = ten_times(Plan(rows=1, rpm=600, tpm=300_000, model="gpt-4.1-mini"))
    assert list(plans)[1:] == ["6,000 RPM, 3M TPM", "60,000 RPM, 30M TPM"]
    for theme in ("light", "dark"):
        root = ET.fromstring(picture(plans, theme))  # noqa: S314 - our own
        texts = ["".join(element.itertext()) for element in root]
        assert {*plans, "rows", "time", "cost with gpt-4.1-mini", "1B", "$360k"} <= {*texts}


@pytest.mark.usefixtures("_coarse")
def test_a_plan_without_a_price_has_a_picture_without_costs() -> None:
    drawn = picture({"slow": Plan(rows=1, rpm=60, latency=0.0)}, "light")
    assert "cost" not in drawn.split("</text>", maxsplit=1)[1]
    assert ROWS[0] == 100
    assert ROWS[-1] == 10**9


@pytest.mark.usefixtures("_coarse")
def test_plot_writes_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "time.svg"
    told(capsys, f"100 --rpm 60 --plot {path}")
    assert path.read_text(encoding="utf-8").startswith("<svg ")
