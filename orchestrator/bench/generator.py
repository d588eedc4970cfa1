"""The load generator, a program of its own: reads a job from standard input, writes a batch to standard output.

It runs apart from deployctl so that nothing else keeps its event loop from noting when a token came. Standard input
stays open as long as somebody wants the result: when it ends, so does the load.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import aiohttp

from orchestrator.bench.prompts import prompt
from orchestrator.bench.stream import Events, NotAStreamError, Tally, complaint
from orchestrator.bench.wire import PROGRESS, Batch, Job, Record, Strain

_TICK = 0.02  # seconds
_CONNECT = 15.0  # seconds
_JOB = 1024 * 1024  # bytes


def main() -> None:
    """Run one job."""
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_main())


async def _main() -> None:
    reader = asyncio.StreamReader(limit=_JOB)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    job = Job.from_json(await reader.readline())
    work = asyncio.ensure_future(_run(job))
    orphaned = asyncio.ensure_future(reader.read())
    done, _ = await asyncio.wait((work, orphaned), return_when=asyncio.FIRST_COMPLETED)
    if work in done:
        _write(work.result().to_json())
    for task in (work, orphaned):
        task.cancel()


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _run(job: Job) -> Batch:
    trust = ssl.create_default_context()
    if job.ca_file:
        trust.load_verify_locations(job.ca_file)
    connector = aiohttp.TCPConnector(limit=0, ssl=trust)
    timeout = aiohttp.ClientTimeout(total=job.timeout, sock_connect=_CONNECT)
    headers = {"Authorization": f"Bearer {job.key}"} if job.key else {}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        return await (_Load(job, session).run() if job.model else _models(job, session))


class _Load:
    """As many requests at once as the job says, each begun when another is over."""

    def __init__(self, job: Job, session: aiohttp.ClientSession) -> None:
        self.job, self.session = job, session
        self.records: list[Record] = []
        self.late: list[float] = []
        self.began = time.perf_counter()

    async def run(self) -> Batch:
        watch = asyncio.ensure_future(self._watch())
        cpu = time.process_time()
        turns = iter(range(self.job.requests)) if self.job.seconds is None else count()
        await asyncio.gather(*(self._worker(turns) for _ in range(self.job.concurrency)))
        watch.cancel()
        wall = self._now()
        late = sorted(self.late) or [0.0]
        strain = Strain(time.process_time() - cpu, wall, late[int(0.99 * (len(late) - 1))], late[-1])
        return Batch(records=tuple(self.records), strain=strain)

    def _now(self) -> float:
        return time.perf_counter() - self.began

    async def _worker(self, turns: Iterator[int]) -> None:
        for turn in turns:
            if self.job.seconds is not None and self._now() >= self.job.seconds:
                return
            self.records.append(await self._ask(self.job.first + turn))
            _write(f"{PROGRESS}{len(self.records)}")

    async def _watch(self) -> None:
        """See how late the loop comes back to what it was to do: whatever keeps it, keeps tokens waiting too."""
        while True:
            due = time.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            self.late.append(max(0.0, time.perf_counter() - due))

    async def _ask(self, index: int) -> Record:
        tally = Tally(self._now())
        try:
            await self._listen(index, tally)
        except TimeoutError:
            tally.fail("timeout", f"no whole answer within {self.job.timeout:g} s")
        except aiohttp.ClientConnectorError as error:
            tally.fail("connect", str(error))
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            tally.fail("cut", str(error) or type(error).__name__)
        except (aiohttp.ClientError, NotAStreamError) as error:
            tally.fail("protocol", str(error) or type(error).__name__)
        return tally.end(self._now())

    async def _listen(self, index: int, tally: Tally) -> None:
        job, events = self.job, Events()
        body = {
            "model": job.model,
            "messages": [{"role": "user", "content": prompt(job.seed, index, job.words)}],
            "max_tokens": job.output_tokens,
            # Greedy: the same texts each time. A seed would do too, but it kills vLLM 0.32 on a CPU (a prompt that is
            # computed in parts: "CPU Generator does not use offset").
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **job.extra,
        }
        url = f"{job.url}/chat/completions"
        async with self.session.post(url, json=body, allow_redirects=False) as response:
            if response.status != 200:
                said = (await response.content.read(4096)).decode("utf-8", "replace")
                tally.fail(f"http {response.status}", complaint(said))
                return
            async for chunk in response.content.iter_any():
                at = self._now()
                for data in events.feed(chunk):
                    tally.add(data, at)


async def _models(job: Job, session: aiohttp.ClientSession) -> Batch:
    """Which models there are; a record says why that could not be learnt."""
    tally = Tally(0.0)
    try:
        async with session.get(f"{job.url}/models", allow_redirects=False) as response:
            text = await response.text(errors="replace")
            if response.status == 200:
                found = (await response.json(content_type=None)).get("data") or ()
                return Batch(models=tuple((str(item["id"]), str(item.get("owned_by", ""))) for item in found))
            tally.fail(f"http {response.status}", complaint(text))
    except aiohttp.ClientConnectorError as error:
        tally.fail("connect", str(error))
    except TimeoutError:
        tally.fail("timeout", "no answer")
    except (aiohttp.ClientError, ValueError, TypeError, AttributeError, KeyError) as error:
        tally.fail("protocol", str(error) or type(error).__name__)
    return Batch(records=(tally.record,))


if __name__ == "__main__":
    main()
