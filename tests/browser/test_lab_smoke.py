"""The panel in a real JupyterLab: shown, updated and clicked from a real kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pictures import RUN
from playwright.sync_api import expect

if TYPE_CHECKING:
    from labdriver import Lab

SHOW = f"""
from gpt_magics.notebook.panel import LimitPanel
clicks = []
shown = {RUN!r}
panel = LimitPanel(shown, on_command=lambda *click: clicks.append(click))
panel
"""
UPDATE = """
shown["jobs"][0] |= {"done": 398, "in_flight": 0, "queued": 0, "eta": 0.0}
panel.snapshot = {**shown, "seq": 18}
"""
REPLACE = """
from IPython.display import display
from gpt_magics.notebook.summary import html_summary, text_summary
shown["jobs"][0] |= {"state": "done", "eta": None}
display({"text/html": html_summary(shown), "text/plain": text_summary(shown)}, raw=True)
"""


def test_panel_lives_in_jupyterlab(lab: Lab) -> None:
    notebook = lab.open([SHOW, UPDATE, "print(clicks)", REPLACE])
    notebook.run_and_wait(0)
    panel = notebook.panel(0)
    expect(panel.get_by_text("348 of 400 rows")).to_be_visible()
    notebook.screenshot(panel, "lab-light")

    notebook.run_and_wait(1)
    expect(panel.get_by_text("398 of 400 rows")).to_be_visible()

    light = panel.locator(".gm-card").evaluate("node => getComputedStyle(node).backgroundColor")
    notebook.theme("dark")
    dark = panel.locator(".gm-card").evaluate("node => getComputedStyle(node).backgroundColor")
    assert light == "rgb(255, 255, 255)"
    assert dark == "rgb(33, 33, 33)"
    notebook.screenshot(panel, "lab-dark")

    panel.get_by_role("button", name="Pause").focus()
    notebook.page.keyboard.press("Enter")
    expect(panel.get_by_role("button", name="Pausing…")).to_be_disabled()
    notebook.run_and_wait(2)
    assert "[('gpt-1', 'pause')]" in notebook.text(2)

    notebook.run_and_wait(3)
    expect(notebook.output(3).get_by_text("398 of 400 rows")).to_be_visible()
    # JupyterLab's own rules for tables, drawings and formulas must not get at it.
    expect(notebook.output(3).locator("mjx-container, .MathJax")).to_have_count(0)
    assert notebook.output(3).locator("svg").last.bounding_box()["height"] < 40  # type: ignore[index]
    notebook.screenshot(notebook.output(3), "lab-summary-dark")
    notebook.theme("light")
    notebook.screenshot(notebook.output(3), "lab-summary-light")
    saved = notebook.save()
    assert "398 of 400 rows" in saved.cells[3].outputs[0].data["text/html"]


def test_a_blocked_cell_is_interrupted(lab: Lab) -> None:
    notebook = lab.open(["import time\nprint('on')\ntime.sleep(600)"])
    notebook.run(0)
    expect(notebook.output(0).get_by_text("on")).to_be_visible()
    notebook.interrupt()
    notebook.wait_for_run(0)
    assert notebook.outputs(0)[-1]["ename"] == "KeyboardInterrupt"
