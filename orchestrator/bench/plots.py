"""The plots of a report, drawn once and written as SVG and as PNG. Import this module late: matplotlib is slow."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.bench.result import Level, Measurement, Spread

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along: the same picture on every machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # a page that loads nothing cannot ask for a font either
    "svg.hashsalt": "deployctl",  # the same numbers give the same bytes
    "text.parse_math": False,  # a model's name may hold a dollar
}
_COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2")
_NOT_LISTED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)


def draw(measured: Sequence[Measurement], png: Path) -> str:
    """Write the PNG, and return the SVG for a page."""
    with warnings.catch_warnings(), matplotlib.rc_context(_STYLE):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font lacks shows boxes
        figure = Figure(figsize=(10, 7), layout="constrained")
        axes = figure.subplots(2, 2)
        _bars(axes[0][0], measured, "Output of all requests together", "tokens per second")
        _ranges(axes[0][1], measured, "Time to the first token", "seconds", lambda level: level.ttft_s, 1)
        _ranges(axes[1][0], measured, "Time between tokens", "milliseconds", lambda level: level.inter_token_s, 1000)
        _ranges(axes[1][1], measured, "Time to the whole answer", "seconds", lambda level: level.end_to_end_s, 1)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)), frameon=False)
        figure.savefig(png, dpi=150, metadata={"Software": None})
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return _NOT_LISTED.sub("", drawn.getvalue()).strip()


def _concurrencies(measured: Sequence[Measurement]) -> list[int]:
    return sorted({level.concurrency for item in measured for level in item.levels})


def _places(axes: Axes, measured: Sequence[Measurement], title: str, unit: str) -> float:
    """Name everything, and say how wide one bar is."""
    levels = _concurrencies(measured)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    axes.set_ylabel(unit)
    axes.set_xlabel("requests at once")
    axes.set_xticks(range(len(levels)), [str(level) for level in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)  # also where an endpoint has no numbers
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return 0.8 / max(1, len(measured))


def _each(measured: Sequence[Measurement], width: float) -> list[tuple[int, Measurement, list[tuple[float, Level]]]]:
    """For every endpoint its levels, and where each stands."""
    places = {level: place for place, level in enumerate(_concurrencies(measured))}
    shift = (len(measured) - 1) / 2
    return [
        (number, item, [(places[level.concurrency] + (number - shift) * width, level) for level in item.levels])
        for number, item in enumerate(measured)
    ]


def _bars(axes: Axes, measured: Sequence[Measurement], title: str, unit: str) -> None:
    width = _places(axes, measured, title, unit)
    for number, item, levels in _each(measured, width):
        drawn = axes.bar(
            [place for place, _ in levels],
            [level.output_tokens_per_second for _, level in levels],
            width * 0.92,
            color=_COLORS[number % len(_COLORS)],
            label=item.title,
        )
        axes.bar_label(drawn, fmt="%.3g", fontsize=7, padding=1)


def _ranges(
    axes: Axes,
    measured: Sequence[Measurement],
    title: str,
    unit: str,
    pick: Callable[[Level], Spread | None],
    factor: float,
) -> None:
    """Half of the requests below the bar's end, 99 of 100 below the line's."""
    width = _places(axes, measured, f"{title}: median, line to 99 %", unit)
    for number, _, levels in _each(measured, width):
        seen = [(place, spread) for place, level in levels if (spread := pick(level)) is not None]
        middle = [spread.p50 * factor for _, spread in seen]
        above = [(spread.p99 - spread.p50) * factor for _, spread in seen]
        axes.bar([place for place, _ in seen], middle, width * 0.92, color=_COLORS[number % len(_COLORS)])
        axes.errorbar(
            [place for place, _ in seen],
            middle,
            yerr=[[0.0] * len(seen), above],
            fmt="none",
            ecolor="#555555",
            elinewidth=1,
            capsize=3,
        )
