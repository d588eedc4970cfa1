"""A report that needs nothing but itself: a page with its plots in it, the plots as a picture, the numbers as JSON."""

import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from orchestrator.bench.figures import doubts
from orchestrator.bench.result import Measurement, Spread
from orchestrator.errors import RefusedError, UsageError

SCHEMA = "deployctl.bench.report/1"


def check_library() -> None:
    """Raises RefusedError where what draws the plots is not installed: better before the load than after it."""
    if find_spec("matplotlib") is None:
        raise RefusedError(
            "a report needs matplotlib, which is not installed",
            remedy="pip install 'deployctl[report]', or leave out --out: --json has all numbers",
        )


def write_report(folder: Path, measured: Sequence[Measurement]) -> list[Path]:
    """Write report.html, report.png and report.json, and return where they are. Raises UsageError."""
    from orchestrator.bench.plots import draw

    page, picture, numbers = (folder / f"report.{kind}" for kind in ("html", "png", "json"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawing = draw(measured, picture)
        page.write_text(render(measured, drawing), encoding="utf-8")
        numbers.write_text(_json(measured), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {folder}", why=error.strerror or "", remedy="choose another --out"
        ) from None
    return [page, picture, numbers]


def render(measured: Sequence[Measurement], drawing: str) -> str:
    """The page; every value in it is escaped, and it asks for nothing from elsewhere."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["spread"] = _spread
    environment.filters["number"] = _number
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        measured=measured,
        doubts=doubts,
        drawing=Markup(drawing),  # noqa: S704  (matplotlib draws names as paths, and escapes what it writes)
    )


def _json(measured: Sequence[Measurement]) -> str:
    document = {"schema": SCHEMA, "measurements": [item.model_dump(mode="json") for item in measured]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _spread(spread: Spread | None, unit: float = 1) -> str:
    if spread is None:
        return "-"
    return " / ".join(_number(value * unit) for value in (spread.p50, spread.p90, spread.p99))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
