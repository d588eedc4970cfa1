"""``deployctl parity``: where two deployments answer differently, and why."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from orchestrator.bench.parity import Answered, Differs
    from orchestrator.bench.settings import Settings
    from orchestrator.bench.sides import Side
    from orchestrator.cli.console import Console
    from orchestrator.cli.documents import ParityDocument, SideOfParity

_EPILOG = """\b
Examples:
  deployctl parity ollama vllm --host gpu01
  deployctl parity ollama vllm --exit-code --json
"""

_SHOWN = 160  # characters of an answer or a template


@click.command(epilog=_EPILOG)
@click.argument("names", nargs=2, metavar="A B")
@click.option("--exit-code", is_flag=True, help="Exit with 7 when settings or answers differ.")
@host_options
@common_options
def parity(names: tuple[str, str], exit_code: bool, **options: Any) -> int:
    """Ask two deployments the same questions greedily, and show which settings differ: the usual reason.

    Sampling, chat templates, stop words and system prompts are compared as they count for a request that sets nothing.
    """
    from orchestrator.bench.parity import answered, differences
    from orchestrator.bench.sides import questions
    from orchestrator.cli.session import Session
    from orchestrator.cli.targets import deployed

    if names[0] == names[1]:
        raise UsageError(f"{names[0]} is compared with itself", remedy="name two deployments")
    session = Session(options)
    hosts = session.open(session.entries())
    try:
        first, second = (_side(found) for found in deployed(session, hosts, names, one_each=True))
        with session.console.progress():
            progress = session.console.for_host(first.host.name)
            with progress.task("ask both", total=len(questions()[0])) as task:
                one, other = first.settings(), second.settings()
                asked = []
                for question in questions()[0]:
                    asked.append(answered(question, first.say(question), second.say(question)))
                    task.update(len(asked))
    finally:
        for host in hosts:
            host.close()
    found = differences(one, other, tuple(asked))
    _tell(session.console, (first.target.title, second.target.title), found, asked)
    differ = bool(found) or not all(item.same for item in asked)
    status = ExitStatus.DIFFERENT if exit_code and differ else ExitStatus.DONE
    document: ParityDocument = {
        "schema": "deployctl.parity/1",
        "exit_code": int(status),
        "sides": [_json(first, one), _json(second, other)],
        "differences": found,
        "answers": asked,
    }
    session.console.document(document)
    return int(status)


def _side(found: Any) -> "Side":
    from orchestrator.bench.sides import Side

    resources = tuple(entry.resource.model_dump(mode="json") for entry in found.manifest.entries)
    return Side(target=found.target, host=found.host, resources=resources)


def _tell(console: "Console", titles: tuple[str, str], found: "list[Differs]", asked: "list[Answered]") -> None:
    same = sum(item.same for item in asked)
    console.say(f"{same} of {len(asked)} greedy answers are the same", bold=True)
    for item in asked:
        if not item.same:
            console.say(f"  {item.question}  (the first {item.common} characters are the same)")
            console.say(f"    {titles[0]}: {_short(item.first)}")
            console.say(f"    {titles[1]}: {_short(item.second)}")
    console.say(f"{len(found)} settings differ" if found else "no setting differs", bold=True)
    for difference in found:
        console.say(f"  {difference.name}", fg="yellow")
        console.say(f"    {titles[0]}: {_short(difference.first)}")
        console.say(f"    {titles[1]}: {_short(difference.second)}")
        console.say(f"    why: {difference.why}")
        console.say(f"    → {difference.remedy}")
    if same < len(asked) and not found:
        console.say(
            "  What is left is arithmetic: other kernels, weights that were dequantized, other batches. Two engines "
            "need not agree to the last word."
        )


def _short(text: str) -> str:
    shown = repr(text) if "\n" in text else text
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def _json(side: "Side", settings: "Settings") -> "SideOfParity":
    return {
        "host": side.host.name,
        "name": side.target.title,
        "runtime": side.target.runtime,
        "model": side.target.model,
        "sampling": dict(settings.sampling),
        "said": dict(settings.said),
        "stop": list(settings.stop),
        "eos": list(settings.eos),
        "system": settings.system,
        "template": settings.template,
        "rendered": settings.rendered,
    }
