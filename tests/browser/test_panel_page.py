"""The panel's page side alone: its module and style sheet in a bare page, with a small model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from labdriver import ARTIFACTS
from pictures import JOB, RUN, a_job, a_lane, a_run
from playwright.sync_api import expect

import gpt_magics
from gpt_magics import wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ConsoleMessage, Locator, Page, Route

ROOM = Path(gpt_magics.__path__[0]) / "notebook"
ADDRESS = "http://panel.test/"
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="panel.css">
<style>body { margin: 20px; background: Canvas; color-scheme: light dark }</style>
<div id="here"></div>
<script type="module">
  import panel, { wording } from "./panel.js";
  const listeners = new Set();
  const state = {};
  window.sent = [];
  window.wording = wording;
  window.model = {
    get: (name) => state[name],
    on: (event, listener) => listeners.add(listener),
    off: (event, listener) => listeners.delete(listener),
    send: (message) => window.sent.push(message),
    save_changes: () => {},
  };
  window.listeners = listeners;
  window.put = (snapshot) => { state.snapshot = snapshot; listeners.forEach((tell) => tell()); };
  window.open_panel = (snapshot) => {
    state.snapshot = snapshot;
    window.close_panel = panel.render({ model: window.model, el: document.querySelector("#here") });
  };
</script>"""
HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>&amp;\u202e'


class Panel:
    """The panel on its page, as a test sees it."""

    def __init__(self, page: Page, snapshot: dict[str, Any]) -> None:
        self.page = page
        self.root: Locator = page.locator(".gpt-magics")
        page.evaluate("snapshot => open_panel(snapshot)", snapshot)

    def put(self, snapshot: dict[str, Any]) -> None:
        self.page.evaluate("snapshot => put(snapshot)", snapshot)

    def sees(self, words: str) -> None:
        expect(self.root.get_by_text(words).first).to_be_visible()

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name)

    def sent(self) -> Any:
        return self.page.evaluate("sent")

    def picture(self, name: str) -> None:
        self.root.screenshot(path=ARTIFACTS / f"panel-{name}.png")


@pytest.fixture
def site(page: Page) -> Iterator[Page]:
    """A page that has loaded the module; it must not log an error or ask for anything else."""
    trouble: list[str] = []

    def listen(line: ConsoleMessage) -> None:
        if line.type == "error":
            trouble.append(line.text)

    def refuse(route: Route) -> None:
        trouble.append(route.request.url)
        route.abort()

    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", listen)
    page.route("**/*", refuse)
    page.route(ADDRESS, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.route(ADDRESS + "panel.js", lambda route: route.fulfill(path=ROOM / "panel.js"))
    page.route(ADDRESS + "panel.css", lambda route: route.fulfill(path=ROOM / "panel.css"))
    page.goto(ADDRESS)
    page.wait_for_function("() => window.open_panel")
    yield page
    assert trouble == []


def test_it_says_everything_in_words(site: Page) -> None:
    panel = Panel(site, RUN)
    for words in (
        "%gpt_batch df.review → df['label']",
        "of 500 RPM left",
        "low · +8.3/s",
        "of 200k TPM left",
        "waiting 1.2 s for tokens",
        "348 of 400 rows",
        "9.9 rows/s · about 6 s left",
        "$1.0788 of $1.50 budget",
        "about $1.24 in all",
        "Retries: rate limit 8, server error 3 · Failures: timeout 1, request too large 1",
        "row 212: 429 rate limit reached",
        "Session: 512 requests (gpt-1 480, your own code 32) · 3 refused · 11 retries · $1.0788",
    ):
        panel.sees(words)


def test_it_is_there_for_screen_readers(site: Page) -> None:
    panel = Panel(site, RUN)
    gauge = panel.root.get_by_role("meter", name="RPM headroom")
    expect(gauge).to_have_attribute("aria-valuenow", "111")
    expect(gauge).to_have_attribute("aria-valuetext", "111 of 500 RPM left, low")
    rows = panel.root.get_by_role("progressbar", name="Rows")
    expect(rows).to_have_attribute("aria-valuenow", "350")
    expect(rows).to_have_attribute("aria-valuetext", "348 of 400 rows done, 2 failed")
    spend = panel.root.get_by_role("progressbar", name="Spend")
    expect(spend).to_have_attribute("aria-valuetext", "$1.0788 of $1.50 budget")


def test_an_update_changes_the_page_in_place(site: Page) -> None:
    panel = Panel(site, RUN)
    before = panel.root.bounding_box()
    site.evaluate("document.querySelectorAll('.gpt-magics *').forEach(node => node.kept = true)")
    panel.put(a_run(done=389, in_flight=9, queued=0, cost=1.1021, eta=0.4))
    panel.sees("389 of 400 rows")
    panel.sees("under 1 s left")
    kept = "[...document.querySelectorAll('.gpt-magics *')].every(node => node.kept)"
    assert site.evaluate(kept)
    assert panel.root.bounding_box() == before


def test_only_a_change_of_state_is_announced(site: Page) -> None:
    panel = Panel(site, RUN)
    news = panel.root.get_by_role("status")
    panel.put(a_run(done=360))
    expect(news).to_have_text("")
    panel.put(a_run(state="stopped", reason="credit balance exhausted"))
    expect(news).to_have_text(f"{JOB['title']}: stopped, credit balance exhausted")


def test_hostile_text_is_inert(site: Page) -> None:
    limit = {**RUN["lanes"][0]["limits"][0], "label": HOSTILE}
    hostile = a_job(
        id=HOSTILE,
        title=HOSTILE,
        model=HOSTILE,
        state=HOSTILE,
        reason=HOSTILE,
        last_message=HOSTILE,
        retry_reasons=[[HOSTILE, 1]],
        failures=[[HOSTILE, 1]],
    )
    lane = a_lane(model=HOSTILE, server=HOSTILE, state=HOSTILE, limits=[limit])
    panel = Panel(site, {**RUN, "lanes": [lane], "jobs": [hostile]})
    panel.sees("<img src=x")
    expect(panel.root.locator("img, script")).to_have_count(0)
    assert site.evaluate("window.pwned") is None


@pytest.mark.parametrize(
    "snapshot",
    [
        None,
        {},
        {"lanes": None, "jobs": "x", "session": None},
        {"lanes": [{}], "jobs": [{}], "session": {}},
    ],
)
def test_a_picture_with_holes_does_not_break_it(site: Page, snapshot: Any) -> None:
    panel = Panel(site, snapshot)
    panel.put(RUN)
    panel.sees("348 of 400 rows")


def test_pause_resume_and_cancel_reach_the_kernel(site: Page) -> None:
    panel = Panel(site, RUN)
    panel.button("Pause").click()
    expect(panel.button("Pausing…")).to_be_disabled()
    panel.button("Pausing…").click(force=True)
    panel.put(a_run(done=349))
    expect(panel.button("Pausing…")).to_be_disabled()
    panel.put(a_run(state="paused"))
    panel.button("Resume").click()
    panel.put(a_run(state="running"))
    panel.button("Cancel").click()
    expect(panel.button("Cancelling…")).to_be_disabled()
    expect(panel.button("Pause")).to_be_disabled()
    assert panel.sent() == [
        {"type": "command", "job": "gpt-1", "action": action}
        for action in ("pause", "resume", "cancel")
    ]
    panel.put(a_run(state="cancelled"))
    expect(panel.root.get_by_role("button")).to_have_count(0)


def test_the_keyboard_works_and_keeps_its_place(site: Page) -> None:
    panel = Panel(site, RUN)
    site.keyboard.press("Tab")
    expect(panel.button("Pause")).to_be_focused()
    outline = panel.button("Pause").evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    site.keyboard.press("Space")
    expect(panel.button("Pausing…")).to_be_focused()
    panel.put(a_run(state="paused"))
    expect(panel.button("Resume")).to_be_focused()


def test_buttons_that_cannot_act_are_not_shown(site: Page) -> None:
    panel = Panel(site, {**RUN, "controls": False})
    panel.sees("use ■ to stop")
    expect(panel.root.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cost": None, "cost_known": False, "budget": None}, "unknown cost"),
        ({"cost": 0, "cost_known": False}, "unknown cost of $1.50 budget"),
        ({"cost": 1.0788, "cost_known": False}, "≥ $1.0788 of $1.50 budget"),
        ({"cost": 0, "cost_known": True, "budget": None}, "$0.00 spent"),
        ({"projected": 1.9}, "▲ about $1.90 in all, over budget"),
        ({"projected": 1.9, "cost_known": False}, "▲ at least $1.90 in all, over budget"),
        ({"cost": 1.5}, "▲ budget used up"),
        ({"eta": None}, "time left unknown"),
    ],
)
def test_what_is_not_known_is_called_so(site: Page, changes: dict[str, Any], words: str) -> None:
    Panel(site, a_run(**changes)).sees(words)


def test_without_headers_there_are_no_gauges(site: Page) -> None:
    panel = Panel(site, {**RUN, "lanes": [a_lane(limits=[])]})
    panel.sees("no rate-limit headers seen")
    expect(panel.root.get_by_role("meter")).to_have_count(0)


def test_a_used_up_limit_says_so(site: Page) -> None:
    limit = {**RUN["lanes"][0]["limits"][0], "level": 0.9}
    panel = Panel(site, {**RUN, "lanes": [a_lane(limits=[limit])]})
    panel.sees("used up · +8.3/s")
    expect(panel.root.get_by_role("meter")).to_have_attribute("aria-valuenow", "0")


def test_jobs_and_lanes_come_and_go(site: Page) -> None:
    jobs = [a_job(id=f"gpt-{n}", title=f"job {n}") for n in range(4)]
    panel = Panel(site, {**RUN, "jobs": jobs, "lanes": [a_lane(), a_lane(model="other")]})
    panel.put({**RUN, "jobs": [jobs[3], jobs[1]], "lanes": []})
    titles = panel.root.locator(".gm-title").all_inner_texts()
    assert titles == ["job 3", "job 1"]
    expect(panel.root.get_by_role("meter")).to_have_count(0)
    panel.put({**RUN, "jobs": []})
    expect(panel.root.get_by_role("meter")).to_have_count(2)
    expect(panel.root.get_by_role("progressbar")).to_have_count(0)


def test_a_silent_kernel_is_reported(site: Page) -> None:
    site.clock.install()
    site.goto(ADDRESS)
    site.wait_for_function("() => window.open_panel")
    panel = Panel(site, RUN)
    site.clock.run_for(12_000)
    panel.sees("No news from the kernel for 12 s")
    panel.put(RUN)
    expect(panel.root.get_by_text("No news")).to_have_count(0)


def test_a_closed_view_leaves_nothing_behind(site: Page) -> None:
    panel = Panel(site, RUN)
    site.evaluate("close_panel()")
    expect(panel.root).to_have_count(0)
    assert site.evaluate("listeners.size") == 0


def test_numbers_are_worded_as_in_python(site: Page) -> None:
    numbers = [0, 0.000123, 0.0099999, 0.04, 0.07, 0.125, 0.84, 0.95, 1.0788, 1.5, 6.25, 9.95, 9.97]
    numbers += [12.345, 59.7, 75.2, 999.5, 1_204, 3_661, 9_999.6, 16_432, 99_950, 999_950, 1e6, 3e9]
    for name in ("count", "exact", "money", "duration", "pace"):
        in_python = [getattr(wording, name)(n) for n in numbers]
        in_page = site.evaluate(
            "([name, numbers]) => numbers.map((n) => wording[name](n))", [name, numbers]
        )
        assert dict(zip(numbers, in_page, strict=True)) == dict(
            zip(numbers, in_python, strict=True)
        )


@pytest.mark.parametrize("width", [280, 360, 480, 620, 920])
def test_nothing_is_cut_off_at_any_width(site: Page, width: int) -> None:
    site.set_viewport_size({"width": width + 40, "height": 800})
    panel = Panel(site, RUN)
    panel.picture(f"width-{width}")
    too_wide = site.evaluate(
        "() => [...document.querySelectorAll('.gpt-magics *')].filter((node) =>"
        " node.getBoundingClientRect().right > document.querySelector('.gm-card')"
        ".getBoundingClientRect().right + 0.5).map((node) => node.className)"
    )
    assert too_wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_people(site: Page, scheme: Any) -> None:
    site.emulate_media(color_scheme=scheme)
    panel = Panel(site, RUN)
    panel.picture(scheme)
    lanes = [a_lane(), a_lane(model="llama3.2", server="localhost:11434", state="", limits=[])]
    panel.put({**RUN, "lanes": lanes, "jobs": [a_job(state="stopped", reason="no credit left")]})
    panel.picture(f"{scheme}-two-lanes")
    background = panel.root.locator(".gm-card").evaluate(
        "node => getComputedStyle(node).backgroundColor"
    )
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 31, 36)"}[scheme]
