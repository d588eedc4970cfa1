"""``deployctl bench``: load against endpoints, and two of them side by side."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.options import common_options, host_options, seconds
from orchestrator.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_EPILOG = """\b
Examples:
  deployctl bench vllm --host gpu01 --concurrency 1,4,16,50
  deployctl bench http://127.0.0.1:8000/v1 --key-file key.txt --prompt-tokens 2000 --output-tokens 200
  deployctl bench vllm --host gpu01 --gate 10%
  deployctl bench compare ollama vllm --host gpu01 --out report
"""

_RUN = "run"


class Bench(click.Group):
    """A group whose command `run` need not be named: whatever is no other command is for it."""

    def spelled_out(self, arguments: list[str]) -> list[str]:
        """The arguments with the command that they mean before them, where they do not name it themselves."""
        named = arguments[:1] and arguments[0] in {*self.commands, "--help", "-h"}
        return arguments if named else [_RUN, *arguments]

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """As Click does, once they are spelled out."""
        return super().parse_args(context, self.spelled_out(arguments))


@click.group(cls=Bench, epilog=_EPILOG, no_args_is_help=False)
def bench() -> None:
    """Load endpoints and see how fast they answer: `deployctl bench [DEPLOYMENT|URL]...` is `deployctl bench run`."""


def _whole(low: int, high: int) -> click.IntRange:
    return click.IntRange(low, high)


def levels(text: str) -> tuple[int, ...]:
    """Numbers of requests at once, each once, as typed. Raises ValueError, which Click tells as it should be."""
    found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    if not all(1 <= number <= 1000 for number in found):
        raise ValueError(text)
    return found


def percent(text: str) -> float:
    """A share, from ``10%`` or ``10``. Raises ValueError, which Click tells as it should be."""
    number = float(text.removesuffix("%"))
    if not 0 <= number < 1000:
        raise ValueError(text)
    return number / 100


def _load_options(concurrency: str, output_tokens: int, timeout: float) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed([*_shape(concurrency, output_tokens), *_bounds(timeout), *_of_urls()]):
            function = option(function)
        return function

    return decorate


def _shape(concurrency: str, output_tokens: int) -> list[Callable[[F], F]]:
    return [
        click.option(
            "--concurrency",
            type=levels,
            default=concurrency,
            show_default=True,
            metavar="N,N",
            help="Requests at once, one level after the other.",
        ),
        click.option(
            "--prompt-tokens",
            type=_whole(1, 2_000_000),
            metavar="N",
            help="Length of the prompts, template included (default: a sentence).",
        ),
        click.option(
            "--output-tokens",
            type=_whole(1, 1_000_000),
            default=output_tokens,
            show_default=True,
            metavar="N",
            help="Most tokens of an answer; it may end before.",
        ),
        click.option("--seed", type=_whole(0, 2**31 - 1), default=1, show_default=True, help="Chooses the prompts."),
    ]


def _bounds(timeout: float) -> list[Callable[[F], F]]:
    return [
        click.option(
            "--requests",
            type=_whole(1, 5000),
            metavar="N",
            help="Requests of each level (default: as many as at once, and at least 8).",
        ),
        click.option(
            "--duration",
            type=seconds,
            metavar="SECONDS",
            help="Begin requests for so long at each level, in place of a number of them.",
        ),
        click.option(
            "--warmup", type=_whole(0, 100), default=2, show_default=True, help="Requests before, which do not count."
        ),
        click.option(
            "--timeout",
            type=seconds,
            default=timeout,
            show_default=True,
            metavar="SECONDS",
            help="For each answer, waiting included.",
        ),
    ]


def _of_urls() -> list[Callable[[F], F]]:
    path = click.Path(path_type=str)
    return [
        click.option("--model", "model_name", metavar="NAME", help="Model of a URL (default: the first it lists)."),
        click.option("--key-file", type=path, metavar="FILE", help="File that holds the API key of a URL."),
        click.option("--ca-file", type=path, metavar="FILE", help="Certificates to trust besides, for a URL (PEM)."),
    ]


@bench.command(_RUN, epilog="\b\nExample:\n  deployctl bench run vllm --host gpu01 --concurrency 1,4,16,50\n")
@click.argument("targets", nargs=-1, metavar="[DEPLOYMENT|URL]...")
@_load_options("1,4,16", 128, 600.0)
@click.option(
    "--gate",
    type=percent,
    metavar="PERCENT",
    help="Exit with 1 when a deployment is slower, by more than that, than its generation before.",
)
@click.option(
    "--out", type=click.Path(path_type=str), metavar="DIR", help="Write report.html, report.png and report.json there."
)
@host_options
@common_options
def run(targets: tuple[str, ...], **options: Any) -> int:
    """Load deployments or URLs, level by level: time to first token, between tokens, tokens/s, errors, GPU.

    Without a target it takes all that is deployed on the hosts. What a deployment showed is kept on its host, with the
    generation.
    """
    from orchestrator.cli.bench_run import Benchmark

    return int(Benchmark(options, "deployctl.bench/1").run(targets))


@bench.command(epilog="\b\nExample:\n  deployctl bench compare ollama vllm --host gpu01 --out report\n")
@click.argument("targets", nargs=2, metavar="A B")
@_load_options("1,4,50", 1400, 3600.0)
@click.option(
    "--out",
    type=click.Path(path_type=str),
    default="benchmark",
    show_default=True,
    metavar="DIR",
    help="Write report.html, report.png and report.json there.",
)
@host_options
@common_options
def compare(targets: tuple[str, str], **options: Any) -> int:
    """Load two endpoints of one host, one after the other, and put them side by side in a report.

    Without options this is the load of the worked example: up to 50 stories of a thousand words at once. It takes as
    long as the slower engine needs for them.
    """
    from orchestrator.cli.bench_run import Benchmark

    if len(options["hosts"]) > 1:
        raise UsageError("two endpoints are compared on one host", remedy="name one --host")
    if targets[0] == targets[1]:
        raise UsageError(f"{targets[0]} is compared with itself", remedy="name two deployments or URLs")
    return int(Benchmark(options, "deployctl.bench.compare/1").run(targets))
