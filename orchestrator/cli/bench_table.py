"""A measurement as people read it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.bench.gate import Change
    from orchestrator.bench.result import Level, Measurement, Spread


def table(measured: "Measurement") -> list[str]:
    """Headline, one row for each level, and what to know of them."""
    from orchestrator.bench.figures import doubts

    rows = [
        ("AT ONCE", "OK", "FAILED", "FIRST TOKEN ms", "BETWEEN ms", "ANSWER s", "TOKENS/s EACH", "ALL", "REQUESTS/s"),
        ("", "", "", *("p50 / p90 / p99",) * 4, "", ""),
        *(_row(level) for level in measured.levels),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["", *_headline(measured)]
    lines += [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for level in measured.levels:
        lines += [f"  {level.concurrency} at once: {text}" for text in (*_remarks(level), *doubts(level))]
    if measured.gpu_note:
        lines.append(f"  GPU: no memory, use or energy: {measured.gpu_note}")
    return [*lines, *(f"  note: {note}" for note in measured.notes)]


def changed(change: "Change") -> str:
    """One number, before and now."""
    share = "" if change.worse is None else f" ({abs(change.worse):.0%} {'worse' if change.worse > 0 else 'better'})"
    return f"{change.concurrency} at once: {change.what} {change.before:.4g} → {change.now:.4g}{share}"


def _headline(measured: "Measurement") -> list[str]:
    load = measured.load
    many = f"for {load.seconds:g} s each level" if load.seconds else f"{load.requests or 'at least 8'} requests a level"
    length = "as they are" if load.prompt_tokens is None else f"of {load.prompt_tokens} tokens"
    way = ", through the SSH connection" if measured.way == "ssh" else ""
    answers = f"greedy answers of at most {load.output_tokens} tokens"
    generation = "" if measured.generation is None else f", generation {measured.generation}"
    return [
        f"{measured.title}: {measured.model} at {measured.url}{way}{generation}",
        f"  prompts {load.prompts} (seed {load.seed}) {length}, {answers}, {many}",
    ]


def _row(level: "Level") -> tuple[str, ...]:
    return (
        str(level.concurrency),
        str(level.succeeded),
        str(level.requests - level.succeeded),
        _spread(level.ttft_s, 1000),
        _spread(level.inter_token_s, 1000),
        _spread(level.end_to_end_s),
        _spread(level.tokens_per_second),
        _number(level.output_tokens_per_second),
        _number(level.requests_per_second),
    )


def _spread(spread: "Spread | None", unit: float = 1) -> str:
    if spread is None:
        return "-"
    return " / ".join(_number(value * unit) for value in (spread.p50, spread.p90, spread.p99))


def _number(value: float) -> str:
    """Three digits that count, never as a power of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _remarks(level: "Level") -> list[str]:
    lines = [
        f"{level.prompt_tokens} prompt tokens, {level.output_tokens} of answer in {level.pieces} pieces, "
        f"ended by {_counts(level.finished) or 'nothing told'}; generator {level.client.cpu:.0%} of a core"
        + (f", tunnel {level.client.tunnel_cpu:.0%}" if level.client.tunnel_cpu is not None else "")
        + f", its loop late by {level.client.late_p99_s * 1000:.1f} ms (p99)"
    ]
    for gpu in level.gpus:
        energy = "energy not told" if gpu.energy_j is None else f"{gpu.energy_j:.0f} J"
        lines.append(
            f"GPU {gpu.index} ({gpu.name}): at most {gpu.memory_peak_mib} of {gpu.memory_total_mib} MiB, "
            f"{gpu.use_percent:.0f} % used, {energy}"
        )
    lines += [f"{count} failed, {kind}: {level.complaints.get(kind, '')}" for kind, count in level.errors.items()]
    return lines


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
