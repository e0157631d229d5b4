"""The main job in a real JupyterLab: a batch watched while its cell blocks, stopped, and saved."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from labdriver import Lab, LabNotebook

ROWS = 80


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A sandbox that is not started yet: its buckets refill from its start on."""
    # 5 rows a second: slow enough to look at, with faults to retry.
    made = Sandbox(rpm=300, tpm=40_000, fill=0.03, latency=0.2, error_rate=0.05, seed=3)
    yield made
    made.close()


def setup(box: Sandbox) -> str:
    return f"""
%load_ext gpt_magics
%config GptMagics.base_url = {box.url!r}
%config GptMagics.api_key = {box.key!r}
import pandas as pd
df = pd.DataFrame({{"review": [f"Review {{i}}: the coffee was good." for i in range({ROWS})]}})
"""


BATCH = (
    '%gpt_batch df.review "Is this positive? {review}" --into label --max-tokens 60 --budget 0.05'
)
KEPT = "print('kept', df.label.notna().sum() if 'label' in df else 'nothing')"


def open_and_set_up(lab: Lab, box: Sandbox, cells: list[str]) -> LabNotebook:
    notebook = lab.open(["", *cells])
    box.start()
    notebook.source(0, setup(box))
    notebook.run_and_wait(0)
    return notebook


def watch(notebook: LabNotebook, index: int, changes: int, seconds: float = 30) -> list[str]:
    """The different texts that the panel showed, until there were enough of them."""
    seen: list[str] = []
    give_up_at = time.monotonic() + seconds
    while len(seen) < changes and time.monotonic() < give_up_at:
        text = notebook.panel(index).inner_text()
        if not seen or text != seen[-1]:
            seen.append(text)
        notebook.page.wait_for_timeout(150)
    return seen


def is_running(notebook: LabNotebook, index: int) -> bool:
    prompt = notebook.cell(index).locator(".jp-InputPrompt").first.inner_text()
    return "*" in prompt


def test_numbers_change_while_the_cell_blocks_and_end_as_a_static_summary(
    lab: Lab, box: Sandbox
) -> None:
    notebook = open_and_set_up(lab, box, [BATCH, KEPT])
    notebook.run(1)
    expect(notebook.panel(1)).to_be_visible()
    seen = watch(notebook, 1, changes=8)
    assert is_running(notebook, 1)
    assert len(seen) >= 6, seen
    # Late enough that the pictures for the README have something to show.
    expect(notebook.panel(1)).to_contain_text(re.compile(rf"[56]\d of {ROWS} rows"), timeout=30_000)
    notebook.screenshot(notebook.panel(1), "batch-light")
    notebook.theme("dark")
    notebook.screenshot(notebook.panel(1), "batch-dark")
    notebook.theme("light")
    notebook.wait_for_run(1)
    expect(notebook.output(1)).to_contain_text(f"{ROWS} of {ROWS} rows")
    assert notebook.panel(1).count() == 0
    saved = notebook.save()
    bundle = saved.cells[1].outputs[0].data
    assert "widget-view" not in json.dumps(dict(bundle))
    assert f"{ROWS} of {ROWS} rows" in bundle["text/plain"]
    assert "<table" in bundle["text/html"] or "<div" in bundle["text/html"]
    notebook.screenshot(notebook.output(1), "batch-summary-light")
    notebook.run_and_wait(2)
    assert f"kept {ROWS}" in notebook.text(2)
    assert sum(box.stats()["refused"].values()) <= 2


def test_the_stop_button_keeps_the_finished_rows(lab: Lab, box: Sandbox) -> None:
    notebook = open_and_set_up(lab, box, [BATCH, KEPT])
    notebook.run(1)
    watch(notebook, 1, changes=6)
    notebook.interrupt()
    notebook.wait_for_run(1, timeout=5000)
    expect(notebook.output(1)).to_contain_text("KeyboardInterrupt")
    expect(notebook.output(1)).to_contain_text("cancelled")
    notebook.run_and_wait(2)
    kept = int(notebook.text(2).split()[1])
    assert 0 < kept < ROWS
    assert kept <= box.stats()["answered"]


def test_a_background_job_is_live_in_the_next_cell(lab: Lab, box: Sandbox) -> None:
    notebook = open_and_set_up(
        lab,
        box,
        [f"job = {BATCH} --background", "%gpt_limits", "print(job.state.value)", KEPT],
    )
    started = time.monotonic()
    notebook.run_and_wait(1)
    assert time.monotonic() - started < 5
    notebook.run_and_wait(2)
    expect(notebook.panel(2)).to_be_visible()
    assert not is_running(notebook, 2)
    assert len(watch(notebook, 2, changes=6)) >= 5
    notebook.run_and_wait(3)
    assert "running" in notebook.text(3)
    notebook.screenshot(notebook.panel(2), "background-light")
    expect(notebook.output(2)).to_contain_text(f"{ROWS} of {ROWS} rows", timeout=60_000)
    expect(notebook.panel(2)).to_have_count(0)
    notebook.run_and_wait(4)
    assert f"kept {ROWS}" in notebook.text(4)


def test_pause_and_cancel_work_while_the_cell_blocks(lab: Lab, box: Sandbox) -> None:
    notebook = open_and_set_up(lab, box, [BATCH, KEPT])
    notebook.run(1)
    watch(notebook, 1, changes=4)
    panel = notebook.panel(1)
    panel.get_by_role("button", name="Pause").click()
    expect(panel).to_contain_text("paused", timeout=5000)
    before = box.stats()["requests"]
    notebook.page.wait_for_timeout(1000)
    assert box.stats()["requests"] == before
    panel.get_by_role("button", name="Resume").click()
    expect(panel).to_contain_text("running", timeout=5000)
    panel.get_by_role("button", name="Cancel").click()
    notebook.wait_for_run(1, timeout=5000)
    expect(notebook.output(1)).to_contain_text("Cancelled")
    notebook.run_and_wait(2)
    assert 0 < int(notebook.text(2).split()[1]) < ROWS


def test_an_answer_is_streamed_with_one_quiet_line(lab: Lab, box: Sandbox) -> None:
    notebook = open_and_set_up(
        lab, box, ["%%gpt\nWhat is **bold**? {'a': 1}", "%gpt What's up?", "_gpt.usage.total > 0"]
    )
    notebook.run_and_wait(1)
    expect(notebook.output(1)).to_contain_text("[sandbox]")
    expect(notebook.output(1)).to_contain_text("tokens")
    notebook.run_and_wait(2)
    expect(notebook.output(2)).to_contain_text("What's up?")
    notebook.run_and_wait(3)
    assert "True" in notebook.text(3)
    notebook.screenshot(notebook.output(1), "answer-light")
