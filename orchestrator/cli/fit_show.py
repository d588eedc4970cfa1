"""What ``deployctl fit`` says to people: parts, a picture of the memory, contexts, levers and a table."""

from collections.abc import Sequence
from itertools import groupby
from textwrap import fill
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.cli.fit_documents import FitDocument, FitModel, FitOutlook, FitTarget, Quantization
    from orchestrator.cli.session import Session
    from orchestrator.fit.memory import Estimate

GIB = 1 << 30
_WIDTH = 56  # cells of the picture
_GLYPHS = {"weights": "█", "projector": "█", "KV cache": "▓", "state": "▓", "compute": "▒", "overhead": "░"}
_PART_COLORS = {"weights": "blue", "projector": "blue", "KV cache": "cyan", "state": "cyan", "compute": "magenta"}
_OTHERS = "·"
_VERDICT_COLORS = {"fits": "green", "tight": "yellow", "spills": "red", "does not fit": "red"}


def show(session: "Session", document: "FitDocument", *, named: bool) -> None:
    """The whole answer. Where no quantization was ``named``, their table takes the place of details about one."""
    if session.console.json_mode:
        return
    _show_model(session, document["model"])
    compared = document["quantizations"]
    if named:
        for target in document["targets"]:
            _show_target(session, target, document["model"]["doubts"])
        return
    for target in document["targets"]:
        session.console.say(f"  {target['name']}: {_memory(target)}")
    _show_quantizations(session, compared)


def _show_model(session: "Session", model: "FitModel") -> None:
    """What the model is, and what was read to know it."""
    say = session.console.say
    say(f"{model['source']}", bold=True)
    facts = [model["architecture"] or "unknown architecture", f"{model['layers']} layers"]
    if model["parameters"]:
        facts.append(f"{_count(model['parameters'])} weights at {model['bits_per_weight']:.2f} bits")
    facts.append(f"{gib(model['size_bytes'])} on disk")
    if model["training_context_tokens"]:
        facts.append(f"trained for {model['training_context_tokens']} tokens")
    say(f"  {', '.join(facts)}")
    if model["read_bytes"]:
        say(f"  {model['read_bytes'] / 1e6:.1f} MB of it were read")
    for doubt in model["doubts"]:
        say(f"  estimate only: {doubt}", fg="yellow")


def _count(number: int) -> str:
    return f"{number / 1e9:.1f} billion" if number >= 1e9 else f"{number / 1e6:.0f} million"


def _show_target(session: "Session", target: "FitTarget", known: Sequence[str]) -> None:
    """One machine, and what each runtime makes of the model there."""
    say = session.console.say
    say()
    say(f"{target['name']}: {_memory(target)}", bold=True)
    for outlook in target["outlooks"]:
        say()
        _show_outlook(session, target, outlook, known)


def _memory(target: "FitTarget") -> str:
    cards = target["cards"]
    if not cards:
        free, total = target["ram_free_bytes"], target["ram_total_bytes"]
        return f"no GPU, {gib(free)} of {gib(total)} main memory free" if total else "no GPU"
    told = [f"{card['name']} with {card['free_mib']} of {card['total_mib']} MiB free" for card in cards]
    same = len(set(told)) == 1 and len(told) > 1
    return f"{len(told)} times {told[0]} each" if same else ", ".join(told)


def _show_outlook(session: "Session", target: "FitTarget", outlook: "FitOutlook", known: Sequence[str]) -> None:
    """One runtime's answer. ``known`` are doubts that were told already."""
    say = session.console.say
    estimate = outlook["estimate"]
    verdict = click.style(estimate.verdict, fg=_VERDICT_COLORS[estimate.verdict], bold=True)
    only = "" if estimate.certain else " (estimate only)"
    asked = f"{estimate.context_tokens} tokens for {_requests(estimate.parallel)}"
    say(f"  {estimate.runtime} {outlook['version']}: {verdict}{only}, {asked}")
    for line in picture(estimate, total_bytes(target)):
        say(f"    {line}")
    for part in estimate.parts:
        glyph = click.style(_GLYPHS[part.name], fg=_PART_COLORS.get(part.name))
        say(f"    {glyph} {part.name:<10} {_span(part.low_bytes, part.high_bytes)}")
    say(f"      {'total':<10} {_span(estimate.need_low_bytes, estimate.need_high_bytes)}{_of_free(estimate)}")
    for line in _remarks(estimate, known):
        say(fill(line, 110, initial_indent="      ", subsequent_indent="        "))
    say(f"    largest context per request: {_contexts_of(outlook)}")
    for lever in outlook["levers"]:
        say(f"    → {lever.summary}")


def _remarks(estimate: "Estimate", known: Sequence[str]) -> list[str]:
    lines = [f"estimate only: {doubt}" for doubt in estimate.doubts if doubt not in known]
    if len(estimate.placed) > 1:
        for place in estimate.placed:
            name = place.name if place.gpu is None else f"GPU {place.gpu}"
            free = f" of {gib(place.free_bytes)} free" if place.free_bytes else ""
            lines.append(f"{name}: {place.layers} layers, {gib(place.need_bytes)}{free}")
    if estimate.concurrency_high:
        least, most = f"{estimate.concurrency_low:.1f}", f"{estimate.concurrency_high:.1f}"
        at_once = least if least == most else f"{least} to {most}"
        lines.append(f"room for {at_once} requests of full length at once")
    return [*lines, *estimate.notes]


def _contexts_of(outlook: "FitOutlook") -> str:
    """The largest contexts, and for how many requests the one that was asked about fits."""
    tokens = outlook["estimate"].context_tokens
    told = ", ".join(f"{one.context_tokens or 'none'} for {one.parallel}" for one in outlook["largest"])
    enough = [one.parallel for one in outlook["largest"] if one.context_tokens >= tokens]
    short = [one.parallel for one in outlook["largest"] if one.context_tokens < tokens]
    if not enough or not short:
        return told
    return f"{told} ({tokens} fit for {_requests(max(enough))}, not for {min(short)})"


def _requests(count: int) -> str:
    return f"{count} request{'s' if count > 1 else ''}"


def _of_free(estimate: "Estimate") -> str:
    text = f" of {gib(estimate.free_bytes)} free"
    if estimate.reserve_bytes:
        text += f", of which the engine leaves {gib(estimate.reserve_bytes)}"
    if estimate.short_bytes > 0:
        text += f"; {gib(estimate.short_bytes)} short"
    if 0 < estimate.cpu_percent < 100:
        text += f"; {estimate.cpu_percent:.0f} % would run on the CPU"
    return text


def _span(low: int, high: int) -> str:
    """A size, or between which bounds it lies."""
    first, last = f"{low / GIB:.2f}", f"{high / GIB:.2f}"
    return f"{last:>6} GiB" if first == last else f"{first:>6} to {last} GiB"


def total_bytes(target: "FitTarget") -> int:
    """The memory that there is: of the GPUs, or without any of the machine."""
    return sum(card["total_mib"] for card in target["cards"]) * (1 << 20) or target["ram_total_bytes"]


def picture(estimate: "Estimate", total: int) -> tuple[str, ...]:
    """The memory as a bar: what others use, the parts, and what stays free; what is too much stands past its end."""
    if total <= 0:
        return ()
    others = max(0, total - estimate.free_bytes)
    whole = max(total, others + estimate.need_high_bytes)
    cells: list[tuple[str, str | None]] = [(_OTHERS, None)] * _cells(others, whole)
    done = others
    for part in estimate.parts:
        done += part.high_bytes
        missing = _cells(min(done, whole), whole) - len(cells)
        cells += [(_GLYPHS[part.name], _PART_COLORS.get(part.name))] * missing
    cells += [(" ", None)] * (_WIDTH - len(cells))
    end = _cells(total, whole)
    return ("│" + _painted(cells[:end]) + "│" + _painted(cells[end:], over=True),)


def _cells(size: int, whole: int) -> int:
    return round(_WIDTH * size / whole)


def _painted(cells: Sequence[tuple[str, str | None]], *, over: bool = False) -> str:
    runs = ((color, "".join(glyph for glyph, _ in run)) for color, run in groupby(cells, key=lambda cell: cell[1]))
    return "".join(click.style(glyphs, fg="red" if over else color) for color, glyphs in runs)


def _show_quantizations(session: "Session", found: "Sequence[Quantization]") -> None:
    """The quantizations of a repository, the smallest first, with what each machine and runtime makes of them."""
    say = session.console.say
    columns = [(one["target"], one["runtime"]) for one in found[0]["outlooks"]]
    several = len({target for target, _ in columns}) > 1
    heads = [f"{runtime.upper()} {target}" if several else runtime.upper() for target, runtime in columns]
    rows = [("QUANTIZATION", "SIZE", "BITS", *heads)]
    rows += [_row(one) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    say()
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)] + [row[-1]]
        if number:
            verdicts = [one["verdict"] for one in found[number - 1]["outlooks"]]
            cells[3:] = [
                click.style(cell, fg=_VERDICT_COLORS[verdict])
                for cell, verdict in zip(cells[3:], verdicts, strict=True)
            ]
        say("  ".join(cells))
    if not all(one["exact"] for one in found):
        say("~ by the size of the file: one header was read")


def _row(one: "Quantization") -> tuple[str, ...]:
    about = "" if one["exact"] else "~"
    verdicts = [f"{about}{each['verdict']}, {_contexts(each['context_tokens'])}" for each in one["outlooks"]]
    bits = f"{one['bits_per_weight']:.2f}" if one["bits_per_weight"] else ""
    return (one["quant"] or one["source"].rpartition("/")[2], gib(one["size_bytes"]), bits, *verdicts)


def _contexts(tokens: int) -> str:
    return f"up to {tokens}" if tokens else "no context"


def gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / GIB:.2f} GiB"
