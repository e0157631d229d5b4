"""Bar charts as plain SVG, side by side, one bar for each client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

THEMES = {
    "light": {
        "text": "#1f2328",
        "quiet": "#59636e",
        "bar": "#afb8c1",
        "ours": "#0969da",
        "lost": "#cf222e",
    },
    "dark": {
        "text": "#f0f6fc",
        "quiet": "#9198a1",
        "bar": "#656c76",
        "ours": "#4493f8",
        "lost": "#f85149",
    },
}
_NAMES, _PANEL, _GAP = 252, 134, 100
_TOP, _LINE, _BAR = 56, 28, 16
_FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
_LARGE = 10.0


@dataclass(frozen=True)
class Bar:
    """One client's figure. A ``note`` says what is wrong with it and takes its place."""

    value: float
    ours: bool = False
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One chart; a dashed line stands at the ``ideal``, which nobody can beat."""

    title: str
    unit: str
    bars: Sequence[Bar]
    ideal: float | None = None


def draw(panels: Sequence[Panel], names: Sequence[str], theme: str) -> str:
    """Draw all panels for the clients ``names`` as an SVG document."""
    width = _NAMES + len(panels) * (_PANEL + _GAP)
    height = _TOP + len(names) * _LINE
    titles = escape("; ".join(panel.title for panel in panels))
    drawing = _Drawing(THEMES[theme])
    for row, (name, bar) in enumerate(zip(names, panels[0].bars, strict=True)):
        colour = "ours" if bar.ours else "text"
        drawing.text(_NAMES - 12, _baseline(row), name, colour, anchor="end", bold=bar.ours)
    for number, panel in enumerate(panels):
        drawing.chart(panel, _NAMES + number * (_PANEL + _GAP))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="{_FONT}" font-size="13" role="img" aria-label="{titles}">'
    )
    return "\n".join([opening, *drawing.parts, "</svg>\n"])


class _Drawing:
    """Collects elements in one theme's colours."""

    def __init__(self, colours: Mapping[str, str]) -> None:
        self.parts: list[str] = []
        self._colours = colours

    def chart(self, panel: Panel, left: float) -> None:
        scale = _PANEL / max(*(bar.value for bar in panel.bars), panel.ideal or 0.0)
        self.text(left, 16, panel.title, "text", bold=True)
        for row, bar in enumerate(panel.bars):
            self._bar(bar, panel.unit, left, row, scale)
        if panel.ideal is not None:
            self.text(left, 36, f"ideal {panel.ideal:g} {panel.unit}", "quiet")
            self._mark(left + panel.ideal * scale, len(panel.bars))

    def _bar(self, bar: Bar, unit: str, left: float, row: int, scale: float) -> None:
        length, y = bar.value * scale, _TOP + row * _LINE
        # Whoever lost rows was not faster: an outline only.
        colour = self._colours["ours" if bar.ours else "bar"]
        style = f'fill="none" stroke="{self._colours["lost"]}"' if bar.note else f'fill="{colour}"'
        self.parts.append(
            f'<rect x="{left:g}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2" {style}/>'
        )
        digits = 1 if bar.value >= _LARGE else 2
        said = bar.note or f"{bar.value:.{digits}f} {unit}"
        shade = "lost" if bar.note else "ours" if bar.ours else "text"
        self.text(left + length + 6, _baseline(row), said, shade, bold=bar.ours)

    def _mark(self, x: float, rows: int) -> None:
        bottom = _TOP + (rows - 1) * _LINE + _BAR + 4
        self.parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{bottom}" '
            f'stroke="{self._colours["quiet"]}" stroke-dasharray="3 3"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        said: str,
        colour: str,
        *,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{self._colours[colour]}" '
            f'text-anchor="{anchor}"{weight}>{escape(said)}</text>'
        )


def _baseline(row: int) -> float:
    return _TOP + row * _LINE + _BAR - 3
