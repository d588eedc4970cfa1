"""The command ``deployctl``: its verbs, and the one place where failures become messages and exit codes.

Nothing heavy is imported here: each verb imports what it needs when it runs, so that ``--help`` is quick.
"""

import gc
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from orchestrator import __version__
from orchestrator.cli import (
    bench,
    diagnose,
    doctor,
    down,
    fit,
    history,
    hosts,
    keys,
    logs,
    metrics,
    parity,
    plan,
    render,
    schema,
    status,
    up,
    version,
)
from orchestrator.errors import DeployError, ExitStatus, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.documents import ErrorDocument

_LOADED = 100_000
"""New objects between two looks for garbage. Loading code makes none, and looking cost a seventh of a run's time."""

_EPILOG = """\b
Examples:
  deployctl up ollama
  deployctl up vllm --host gpu01 --gpu-mem 1.0 --max-model-len 24576
  deployctl status --host gpu01
  deployctl down vllm --host gpu01

\b
Exit codes: 0 done, 1 failed, 2 usage or bad spec, 3 host unreachable or not trusted,
4 refused before any change, 5 deployed but unhealthy, 6 locked, 7 differences found, 130 interrupted.
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="deployctl")
def group() -> None:
    """Deploy self-hosted LLMs: from a Linux machine, here or over SSH, to a healthy OpenAI-compatible endpoint."""


for verb in (
    *(up.up, plan.plan, plan.apply, down.down, status.status, logs.logs, diagnose.diagnose, metrics.metrics),
    *(history.history, history.rollback, keys.keys, bench.bench, parity.parity),
    *(render.render, fit.fit, doctor.doctor, hosts.hosts, schema.schema, version.version),
):
    group.add_command(verb)


def cli(arguments: list[str] | None = None) -> None:
    """Run a command line and exit with its status."""
    gc.set_threshold(_LOADED)
    for stream in (sys.stdout, sys.stderr):  # a message may repeat an argument that is no text
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    status = int(_run(words))
    gc.freeze()  # the end of the process is near: what is loaded needs no more looking through, which takes as long
    sys.exit(status)


class _Interrupted(DeployError):
    status = ExitStatus.INTERRUPTED


def _run(words: list[str]) -> int:
    json_mode, verbose = "--json" in words, "--verbose" in words or "-v" in words
    try:
        result = group.main(words, prog_name="deployctl", standalone_mode=False)
        return int(result) if isinstance(result, int) else int(ExitStatus.DONE)
    except DeployError as error:
        return _explain(error, json_mode=json_mode)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _explain(_Interrupted("interrupted", remedy="run the same command again to go on"), json_mode=json_mode)
    except click.ClickException as error:
        error.show()
        return _explain(UsageError(error.format_message()), json_mode=json_mode, told=True)
    except SystemExit:  # so Click says that nobody reads on: `deployctl logs | head`
        return int(ExitStatus.DONE)
    except Exception as error:
        if verbose:
            import traceback

            traceback.print_exc()
        internal = DeployError(f"internal: {type(error).__name__}", remedy="run with --verbose for where")
        return _explain(internal, json_mode=json_mode)


def _explain(error: DeployError, *, json_mode: bool, told: bool = False) -> int:
    """Tell it on stderr, unless it is ``told`` already, and as the one document in JSON mode."""
    from orchestrator.cli.console import Console
    from orchestrator.cli.session import error_document

    console = Console(json_mode=json_mode, verbose=False, color=True)
    if not told:
        console.error(error)
    document: ErrorDocument = {"schema": "deployctl.error/1", "error": error_document(error)}
    console.document(document)
    return int(error.status)
