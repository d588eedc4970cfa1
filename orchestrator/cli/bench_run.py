"""The work of ``deployctl bench``: find the endpoints, measure each, keep, compare and report what they showed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.bench_table import changed, table
from orchestrator.cli.session import Session, error_document, worst
from orchestrator.cli.targets import deployed
from orchestrator.errors import DeployError, ExitStatus, RefusedError, UsageError

if TYPE_CHECKING:
    from orchestrator.bench.gate import Change
    from orchestrator.bench.result import Load, Measurement
    from orchestrator.bench.target import Target
    from orchestrator.cli.documents import BenchDocument, Compared
    from orchestrator.hosts.base import Host
    from orchestrator.hosts.secret import Secret


@dataclass(frozen=True)
class _Found:
    """An endpoint to be measured; ``state`` is where a deployment's results are kept."""

    target: "Target"
    state: str = ""


class Benchmark:
    """One run of ``bench`` or ``bench compare``."""

    def __init__(self, options: dict[str, Any], schema: str) -> None:
        self.options, self.schema = options, schema
        self.session = Session(options)
        self.console = self.session.console
        self.compared: list[Compared] = []

    def run(self, names: tuple[str, ...]) -> ExitStatus:
        """Measure one target after the other. Raises DeployError when nothing can be begun."""
        load, urls = self._load(), [name for name in names if "://" in name]
        self._check(names, urls)
        hosts = self.session.open(self.session.entries()) if len(urls) < len(names) or not names else []
        try:
            return self._measured(self._targets(names, hosts), load)
        finally:
            for host in hosts:
                host.close()

    def _check(self, names: tuple[str, ...], urls: list[str]) -> None:
        """Raises UsageError and DeployError for what would otherwise come out after minutes of load."""
        option = self.options.get
        if option("requests") and option("duration"):
            raise UsageError("--requests and --duration exclude each other", remedy="say one of them")
        if option("gate") is not None and urls:
            raise UsageError("--gate needs deployments", remedy="name deployments, whose results are kept")
        for name in ("key_file", "ca_file", "model_name"):
            if option(name) and not urls:
                flag = {"model_name": "--model"}.get(name, f"--{name.replace('_', '-')}")
                raise UsageError(f"{flag} is for URLs", remedy="leave it out: of a deployment it is known")
        trusted = option("ca_file")
        if trusted and not Path(trusted).is_file():
            raise UsageError(f"there is no file {trusted}", remedy="give --ca-file a file of certificates")
        if option("out"):
            from orchestrator.bench.report import check_library

            check_library()

    def _load(self) -> "Load":
        from orchestrator.bench.prompts import stories
        from orchestrator.bench.result import Load

        option = self.options
        return Load(
            concurrency=option["concurrency"],
            prompt_tokens=option["prompt_tokens"],
            output_tokens=option["output_tokens"],
            requests=option["requests"],
            seconds=option["duration"],
            warmup=option["warmup"],
            seed=option["seed"],
            timeout=option["timeout"],
            prompts=stories().name,
        )

    # which endpoints

    def _targets(self, names: tuple[str, ...], hosts: "list[Host]") -> list[_Found]:
        """In the order in which they were named; without a name, all that is deployed."""
        if not names:
            found = [_Found(item.target, item.state) for item in deployed(self.session, hosts, ())]
            if not found:
                where = ", ".join(host.name for host in hosts)
                raise RefusedError("nothing is deployed", host=where, remedy="deployctl up, or name a URL")
            return found
        ours = [name for name in names if "://" not in name]
        mine = {name: deployed(self.session, hosts, (name,)) for name in ours}
        found = []
        for name in names:
            here = [_Found(item.target, item.state) for item in mine.get(name, ())]
            found += here or [_Found(self._of_url(name))]
        return found

    def _of_url(self, url: str) -> "Target":
        from urllib.parse import urlsplit

        from orchestrator.bench.target import Target

        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            port, host = None, None
        if not host or parts.scheme not in ("http", "https") or parts.username or parts.query or port == 0:
            raise UsageError(
                "a target is a deployment, or a URL like http://127.0.0.1:8000/v1",
                remedy="give the base URL that OpenAI clients are given; a key goes into --key-file",
            )
        model = self.options["model_name"] or ""
        return Target(
            title=url, url=url.rstrip("/"), model=model, key=self._key(), ca_file=self.options["ca_file"] or ""
        )

    def _key(self) -> "Secret":
        from orchestrator.hosts.secret import Secret

        file = self.options["key_file"]
        if not file:
            return Secret("")
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"cannot read the key in {file}", why=why, remedy="give --key-file a file") from None
        if not text.isprintable() or " " in text or not text:
            raise UsageError(f"{file} holds no key", remedy="a key is one word on one line")
        return Secret(text)

    # measuring

    def _measured(self, found: list[_Found], load: "Load") -> ExitStatus:
        done: list[Measurement] = []
        failures: list[DeployError] = []
        for item in found:
            try:
                done.append(self._one(item, load, failures))
            except DeployError as error:
                failures.append(error)
                self.console.error(error)
        files = self._report(done)
        status = worst([error.status for error in failures])
        document: BenchDocument = {
            "schema": self.schema,
            "exit_code": int(status),
            "measurements": done,
            "compared": self.compared,
            "files": files,
            "errors": [error_document(error) for error in failures],
        }
        self.console.document(document)
        return status

    def _one(self, item: _Found, load: "Load", failures: list[DeployError]) -> "Measurement":
        from orchestrator.bench.measure import measure
        from orchestrator.planning.deploy import operator

        target = item.target
        with self.console.progress():
            progress = self.console.for_host(target.host_name or "url")
            measured = measure(target, load, by=operator(), progress=progress)
        for line in table(measured):
            self.console.say(line)
        if not any(level.succeeded for level in measured.levels):
            error = DeployError(f"{target.title} answered no request of the load", host=target.host_name)
            self.console.error(error)
            failures.append(error)
            return measured
        if target.host is not None:
            failures += self._keep(target.host, item, measured)
        return measured

    def _keep(self, host: "Host", item: _Found, measured: "Measurement") -> list[DeployError]:
        """Put the result beside its generation, and compare it with the one before; what the gate says against it."""
        from orchestrator.bench.gate import changes, slower
        from orchestrator.bench.store import before, read_results, write_result
        from orchestrator.planning.deploy import glance

        name, gate = item.target.title, self.options.get("gate")
        manifests = glance(host, self.session.scope).manifests
        now = next((manifest.generation for manifest in manifests if manifest.name == name), None)
        if now != measured.generation:
            self.console.tell(f"{name} was changed while it was measured: the result is not kept", fg="yellow")
            return []
        last = before(read_results(host, item.state), measured)
        write_result(host, item.state, measured)
        if last is None:
            if gate is not None:
                self.console.tell(
                    f"{name}: no earlier generation was measured with such requests; there is nothing to compare with",
                    fg="yellow",
                )
            return []
        found = changes(last, measured)
        self._tell(last, measured, found)
        worse = slower(found, gate) if gate is not None else ()
        if not worse:
            return []
        error = DeployError(
            f"{name} is slower than its generation {last.generation}, by more than {gate:.0%}",
            host=host.name,
            why="\n".join(changed(change) for change in worse),
            remedy=f"deployctl rollback {name}, or measure both again: --requests N with more of them",
        )
        self.console.error(error)
        return [error]

    def _tell(self, last: "Measurement", measured: "Measurement", found: "tuple[Change, ...]") -> None:
        self.console.say(f"  against generation {last.generation}, measured {last.at}:")
        for change in found:
            self.console.say(f"    {changed(change)}")
        self.compared.append(
            {
                "host": measured.host,
                "name": measured.target,
                "generation": measured.generation or 0,
                "before": last.generation or 0,
                "changes": [
                    {
                        "concurrency": change.concurrency,
                        "what": change.what,
                        "before": change.before,
                        "now": change.now,
                        "worse": change.worse,
                    }
                    for change in found
                ],
            }
        )

    def _report(self, done: "list[Measurement]") -> list[str]:
        if not self.options.get("out") or not done:
            return []
        from orchestrator.bench.report import write_report

        files = [str(path) for path in write_report(Path(self.options["out"]), done)]
        for file in files:
            self.console.tell(f"wrote {file}")
        return files
