"""What stays in the notebook when a job ends: the last picture, as text and as static HTML.

Pure: a snapshot in, text out. The HTML needs no kernel, no JavaScript and no style sheet. Where
a viewer strips styles (GitHub does) a plain heading and two small tables are left.
"""

from __future__ import annotations

import unicodedata
from html import escape
from typing import TYPE_CHECKING

from gpt_magics.wording import count, duration, exact, money, origins_words, pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpt_magics.notebook.snapshot import JobView, LaneView, LimitView, SessionView, Snapshot

Fact = tuple[str, str]

_GLYPHS = {
    "queued": "○",
    "running": "▶",
    "pausing": "‖",
    "paused": "‖",
    "stopped": "■",
    "cancelled": "⊘",
    "failed": "✕",
    "done": "✓",
}
_LIVE = frozenset({"queued", "running", "pausing", "paused"})
_LONGEST_TEXT = 400
_FEWEST_SLOTS = 20  # a short run gets bars, not slabs
# A few characters can turn the direction of everything around them: a title must not.
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def text_summary(snapshot: Snapshot) -> str:
    """Say the picture in plain, aligned lines, for terminals and logs."""
    blocks = [
        "\n".join([_headline(job), *_aligned([*_figures(job), *_job_facts(job)])])
        for job in snapshot.get("jobs", [])
    ]
    if foot := _foot_facts(snapshot):
        blocks.append("\n".join(_aligned(foot, indent="")))
    return "\n\n".join(blocks) or "Nothing sent yet."


def html_summary(snapshot: Snapshot) -> str:
    """Say the picture as self-contained HTML that reads in a saved notebook."""
    sections = [_job_html(job) for job in snapshot.get("jobs", [])]
    if foot := _foot_facts(snapshot):
        sections.append(_facts_html(foot))
    body = _RULE.join(sections) or '<p style="margin:0">Nothing sent yet.</p>'
    return f'<div class="gpt-magics-summary {_NO_MATH}" style="{_CARD}">{body}</div>'


def plain(text: object) -> str:
    """Make untrusted text one harmless line: no control characters, no change of direction."""
    kept = (
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in str(text)[: 2 * _LONGEST_TEXT]
        if c not in _BIDI
    )
    line = " ".join("".join(kept).split())
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"


# The facts, in words: what text and HTML share.


def _headline(job: JobView) -> str:
    model = f" ({plain(job['model'])})" if job["model"] else ""
    return f"{plain(job['title'])}{model}: {_state(job)}"


def _state(job: JobView) -> str:
    reason = f", {plain(job['reason'])}" if job["reason"] else ""
    return f"{plain(job['state'])}{reason}"


def _figures(job: JobView) -> list[Fact]:
    """The numbers that a reader looks for first."""
    unanswered = max(0, job["in_flight"])
    unsent = max(0, job["rows"] - job["done"] - job["failed"] - unanswered)
    live = job["state"] in _LIVE
    figures = [
        ("done", f"{exact(job['done'])} of {exact(job['rows'])} rows"),
        ("failed", exact(job["failed"])),
    ]
    if unanswered:
        figures.append(("in flight" if live else "no answer", exact(unanswered)))
    figures.append(("queued" if live else "not sent", exact(unsent)))
    figures.append(("time", duration(job["elapsed"])))
    figures.append(("cost", _spend(job["cost"], job["budget"], known=job["cost_known"])))
    return figures


def _job_facts(job: JobView) -> list[Fact]:
    facts = [
        ("pace", pace(job["rate"])),
        ("retries", _with_reasons(job["retries"], job["retry_reasons"])),
        ("tokens", _tokens(job)),
    ]
    if job["failed"]:
        facts.insert(2, ("failures", _with_reasons(job["failed"], job["failures"])))
    if job["state"] in _LIVE and job["projected"] is not None:
        facts.append(("projected", money(job["projected"], known=job["cost_known"])))
    if job["last_message"]:
        facts.append(("last message", plain(job["last_message"])))
    return facts


def _foot_facts(snapshot: Snapshot) -> list[Fact]:
    facts = [("limits left", _lane(lane)) for lane in snapshot.get("lanes", [])]
    if session := snapshot.get("session"):
        facts.append(("session", _session(session)))
    return facts


def _lane(lane: LaneView) -> str:
    limits = " · ".join(map(_limit, lane["limits"])) or "no rate-limit headers seen"
    return f"{plain(lane['model'])} at {plain(lane['server'])}: {limits}"


def _limit(limit: LimitView) -> str:
    left = count(max(0, int(limit["level"])))
    return f"{left} of {count(limit['limit'])} {plain(limit['label'])}"


def _session(session: SessionView) -> str:
    requests = session["requests"]
    origins = session["origins"]
    by = f" ({plain(origins_words(origins))})" if len(origins) > 1 else ""
    parts = [f"{exact(requests)} request{'' if requests == 1 else 's'}{by}"]
    parts += [f"{exact(session[key])} {key}" for key in ("refused", "retries") if session[key]]
    parts.append(_spend(session["cost"], session["budget"], known=session["cost_known"]))
    parts.append(_tokens(session))
    return " · ".join(parts)


def _spend(cost: float | None, budget: float | None, *, known: bool) -> str:
    spent = money(cost, known=known)
    return spent if budget is None else f"{spent} of {money(budget)} budget"


def _tokens(used: JobView | SessionView) -> str:
    return f"{count(used['tokens_in'])} tokens in, {count(used['tokens_out'])} out"


def _with_reasons(total: int, reasons: Sequence[Sequence[str | int]]) -> str:
    if not total:
        return "none"
    words = ", ".join(f"{plain(reason)} {exact(float(n))}" for reason, n in reasons)
    return f"{exact(total)}: {words}" if words else exact(total)


def _aligned(facts: Sequence[Fact], indent: str = "  ") -> list[str]:
    width = max((len(name) for name, _ in facts), default=0)
    return [f"{indent}{name:<{width}}  {value}" for name, value in facts]


# Notebooks typeset what stands between two dollar signs: "$1.08 of $1.50" would turn into a
# formula. The classes tell MathJax to stay out; where they are stripped, a dollar sign alone in
# its element has no partner.
_NO_MATH = "tex2jax_ignore mathjax_ignore"


def _safe(text: str) -> str:
    return escape(text).replace("$", "<span>$</span>")


# The HTML. Styles are inline and name a colour only through the theme, with a fallback that
# reads on white and on black alike.

_TEXT = "var(--jp-ui-font-color1,var(--vscode-foreground,inherit))"
_MUTED = "var(--jp-ui-font-color2,var(--vscode-descriptionForeground,#757d89))"
_LINE = "var(--jp-border-color2,var(--vscode-panel-border,rgba(128,128,128,.3)))"
_BRAND = "var(--jp-brand-color1,var(--vscode-charts-blue,#2f81d8))"
_GOOD = "var(--jp-success-color1,var(--vscode-charts-green,#3f9142))"
_WARN = "var(--jp-warn-color1,var(--vscode-charts-orange,#d9822b))"
_BAD = "var(--jp-error-color1,var(--vscode-charts-red,#d64545))"
_TRACK = "var(--jp-layout-color2,var(--vscode-editorWidget-border,rgba(128,128,128,.25)))"
_COLOURS = {"done": _GOOD, "failed": _BAD, "stopped": _WARN, "paused": _WARN, "pausing": _WARN}

_CARD = (
    "box-sizing:border-box;max-width:920px;margin:4px 0;padding:16px 20px;"
    f"border:1px solid {_LINE};border-radius:8px;color:{_TEXT};"
    "font-family:var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));"
    "font-size:13px;line-height:20px;font-variant-numeric:tabular-nums"
)
_RULE = f'<hr style="border:0;border-top:1px solid {_LINE};margin:16px 0">'
_TABLE = "border-collapse:collapse;border:0;margin:0;font-size:inherit;color:inherit"
_ROW = "background:none;border:0"
_CELL = "text-align:left;vertical-align:top;border:0;max-width:none;white-space:normal;"
_NAME = f"{_CELL}font-weight:400;color:{_MUTED};"
_MONO = "font-family:var(--jp-code-font-family,var(--vscode-editor-font-family,monospace))"


def _job_html(job: JobView) -> str:
    figures, facts = _figures(job), _job_facts(job)
    return "".join(
        [
            _title_html(job),
            _progress_svg(job),
            _figures_html(figures),
            _sparkline_svg(job["history"]),
            _facts_html(facts),
        ]
    )


def _title_html(job: JobView) -> str:
    state = job["state"]
    colour = _COLOURS.get(state, _MUTED)
    return (
        '<p style="margin:0 0 12px">'
        f'<code style="{_MONO};font-size:13px;font-weight:600;background:none;padding:0;'
        f'color:inherit;overflow-wrap:anywhere">{_safe(plain(job["title"]))}</code> '
        f'<span style="color:{_MUTED}">{_safe(plain(job["model"]))}</span> '
        f'<strong style="font-weight:600;margin-left:8px;white-space:normal">'
        f'<span style="color:{colour}">{_GLYPHS.get(state, "•")}</span> '
        f"{_safe(_state(job))}</strong></p>"
    )


def _figures_html(figures: Sequence[Fact]) -> str:
    names = _cells("th", f"{_NAME}padding:0 28px 0 0;font-size:12px", (n for n, _ in figures))
    values = _cells(
        "td", f"{_CELL}padding:0 28px 0 0;font-size:15px;font-weight:600", (v for _, v in figures)
    )
    return (
        f'<table style="{_TABLE}"><thead style="border:0"><tr style="{_ROW}">{names}</tr></thead>'
        f'<tbody><tr style="{_ROW}">{values}</tr></tbody></table>'
    )


def _cells(tag: str, style: str, texts: Iterable[str]) -> str:
    return "".join(f'<{tag} style="{style}">{_safe(text)}</{tag}>' for text in texts)


def _facts_html(facts: Sequence[Fact]) -> str:
    rows = "".join(
        f'<tr style="{_ROW}"><th scope="row" style="{_NAME}padding:1px 20px 1px 0;min-width:88px;'
        f'white-space:nowrap">{_safe(name)}</th>'
        f'<td style="{_CELL}padding:1px 0;overflow-wrap:anywhere">{_safe(value)}</td></tr>'
        for name, value in facts
    )
    return f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>'


def _progress_svg(job: JobView) -> str:
    """A bar of done and failed rows; the figures under it say the same in words."""
    rows = max(1, job["rows"])
    done, failed = (100 * max(0, n) / rows for n in (job["done"], job["failed"]))
    bars = "".join(
        f'<rect x="{start:.2f}%" width="{width:.2f}%" height="6" style="fill:{colour}"/>'
        for start, width, colour in (
            (0, 100, _TRACK),
            (0, done, _BRAND),
            (done, failed, _BAD),
        )
    )
    return (
        '<svg width="100%" height="6" aria-hidden="true" '
        'style="display:block;width:100%;height:6px;'
        f'border-radius:3px;margin:0 0 12px">{bars}</svg>'
    )


def _sparkline_svg(history: Sequence[float]) -> str:
    """Rows finished over the run, one bar per stretch of time."""
    top = max(history, default=0)
    if top <= 0:
        return ""
    bars = "".join(
        f"M{x} 24v{-24 * max(0, n) / top:.2f}h.7V24z" for x, n in enumerate(history) if n > 0
    )
    slots = max(_FEWEST_SLOTS, len(history))
    return (
        f'<svg viewBox="0 0 {slots} 24" width="100%" height="28" role="img" '
        'preserveAspectRatio="none" aria-label="rows finished over time" '
        'style="display:block;width:100%;height:28px;'
        f'margin:12px 0 10px;border-bottom:1px solid {_LINE}">'
        f'<path d="{bars}" style="fill:{_BRAND};opacity:.75"/></svg>'
    )
