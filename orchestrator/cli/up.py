"""``deployctl up``: plan, confirm, apply, check, and say how to use it."""

from typing import Any

import click

from orchestrator.cli.options import (
    change_options,
    common_options,
    force_option,
    host_options,
    spec_options,
    start_options,
)

_EPILOG = """\b
Examples:
  deployctl up ollama                                   the worked example, on this machine
  deployctl up vllm --gpu-mem 1.0 --max-model-len 24576
  deployctl up ollama --host gpu01 --model hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M
  deployctl up vllm --host gpu01 --host gpu02 --yes
  deployctl up                                          all that deployctl.yaml names
"""


@click.command(epilog=_EPILOG)
@click.argument("runtime", required=False, metavar="[ollama|vllm]")
@click.option("--on-done", metavar="COMMAND", help="Run this here at the end, however it ends (see hooks in the spec).")
@spec_options
@force_option
@start_options
@change_options
@host_options
@common_options
def up(runtime: str | None, on_done: str | None, **options: Any) -> int:
    """Deploy a runtime (or all that the spec names) and prove that the endpoint generates.

    Run it again at any time: what is already as wanted is left alone. When the endpoint does not become healthy, the
    last generation that was is returned to, and the exit code is 5.
    """
    from orchestrator.cli.execute import Execution, Locks, command_line
    from orchestrator.cli.hooks import OnDone
    from orchestrator.cli.planner import Planner
    from orchestrator.cli.session import Session, runtime_argument

    session = Session(options)
    command = command_line(["up", *([runtime] if runtime else [])])
    with OnDone(session, on_done, command) as done:
        planner = Planner(session, runtime_argument(runtime))
        done.secrets = (planner.spec.hub.token_env,)
        hosts = session.open(planner.entries)
        try:
            with Locks(session, command, options["lock_wait"]) as locks:
                works, failures = planner.plans(hosts, locks.take)
                done.status = Execution(session, command, "deployctl.up/1").run(works, failures)
        finally:
            for host in hosts:
                host.close()
    return int(done.status)
