"""Numbers in words."""

from __future__ import annotations

import pytest

from gpt_magics.wording import count, duration, exact, money, pace


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (0.0, "$0.00"),
        (None, "unknown cost"),
        (float("nan"), "unknown cost"),
        (float("inf"), "unknown cost"),
        (12.345, "$12.35"),
        (1234.5, "$1,234.50"),
        (0.25, "$0.25"),
        (0.1234, "$0.1234"),
        (0.0042, "$0.0042"),
        (0.000123, "$0.00012"),
    ],
)
def test_a_cost_in_dollars(cost: float | None, words: str) -> None:
    assert money(cost) == words


def test_what_is_not_known_is_never_shown_as_nothing() -> None:
    assert money(0.0, known=False) == "unknown cost"
    assert money(0.5, known=False) == "≥ $0.50"
    assert money(1e-15) != "$0.00"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999.5, "1,000"),
        (1204, "1,204"),
        (9_999, "9,999"),
        (10_000, "10k"),
        (16_240, "16.2k"),
        (999_999, "1M"),
        (1_200_000, "1.2M"),
        (2.5e9, "2.5B"),
        (7e15, "7,000T"),
    ],
)
def test_a_count(number: float, words: str) -> None:
    assert count(number) == words


def test_an_exact_count_has_all_its_digits() -> None:
    assert exact(1_234_567.5) == "1,234,568"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (0.0001, "1 ms"),
        (0.045, "45 ms"),
        (0.84, "0.8 s"),
        (9.96, "10 s"),
        (35, "35 s"),
        (59.6, "1 min"),
        (75, "1 min 15 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_how_long(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("per_second", "unit", "words"),
    [
        (9.9, "rows", "9.9 rows/s"),
        (0.2, "rows", "0.2 rows/s"),
        (0.05, "rows", "3 rows/min"),
        (0.0001, "rows", "0.4 rows/h"),
        (0, "rows", "0 rows/s"),
        (3333.3, "", "3,333/s"),
    ],
)
def test_how_fast(per_second: float, unit: str, words: str) -> None:
    assert pace(per_second, unit) == words
