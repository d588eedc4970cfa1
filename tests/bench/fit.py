"""Predicted against measured memory, for every figure of tests/fit/data: `make bench-fit`."""

import statistics
import sys
from collections.abc import Iterator

import click

from tests.fit import rows


def lines() -> Iterator[str]:
    """The table, and what it comes to."""
    figures = rows.figures()
    wide = max(len(figure.row) for figure in figures)
    yield f"{'row':{wide}}  {'figure':22} {'predicted':>19} {'measured':>9} {'':6} {'error':>7}  rule"
    for figure in figures:
        bounds = f"{figure.low:.0f}" + (f"-{figure.high:.0f}" if figure.high - figure.low >= 1 else "")
        yield (
            f"{figure.row:{wide}}  {figure.name:22} {bounds:>19} {figure.measured:9.0f} {figure.unit:6} "
            f"{figure.error:+6.2f}%  {figure.rule}{'' if figure.holds else '  <- outside'}"
        )
    yield ""
    for rule in dict.fromkeys(figure.rule for figure in figures):
        yield summary(rule, [figure for figure in figures if figure.rule == rule])
    yield summary("all", list(figures))
    outside = sum(1 for figure in figures if not figure.holds)
    yield f"{outside} outside their tolerance; {len(rows.read('unchecked.csv'))} in tests/fit/data/unchecked.csv"


def summary(rule: str, figures: list[rows.Figure]) -> str:
    """Median and worst error of some figures."""
    errors = [abs(figure.error) for figure in figures]
    return f"{rule:16} {len(errors):4} figures  median {statistics.median(errors):.2f} %  worst {max(errors):.2f} %"


def main() -> int:
    """Print; 1 when a figure is outside its tolerance."""
    click.echo("\n".join(lines()))
    return 0 if all(figure.holds for figure in rows.figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
