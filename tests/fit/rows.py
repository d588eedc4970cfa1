"""Measured figures beside what is predicted for them: every row of ``data/*.csv``.

A figure that cannot be predicted, and why, stands in ``data/unchecked.csv``; nothing is passed over in silence.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from orchestrator.fit import llamacpp, vllm, vllm_cache
from orchestrator.fit.llamacpp import Server
from orchestrator.fit.memory import GIB, MIB, VllmSettings
from orchestrator.fit.ollama import CONTEXT_HIGH_MIB, CONTEXT_LOW_MIB
from orchestrator.fit.shape import ModelShape
from tests.fit import configs, models, published

DATA = Path(__file__).parent / "data"

Rule = Literal["0.5 %", "3 % or 250 MiB", "upper bound", "within range"]


@dataclass(frozen=True)
class Figure:
    """One measured figure. ``low`` to ``high`` is the prediction; ``measured`` counts in the same unit."""

    row: str
    name: str
    low: float
    high: float
    measured: float
    unit: Literal["MiB", "tokens"]
    rule: Rule

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def error(self) -> float:
        """How far off the prediction is, in percent of what was measured; 0 anywhere within a range."""
        if self.rule == "within range" and self.low <= self.measured <= self.high:
            return 0.0
        return 100 * (self.middle - self.measured) / self.measured if self.measured else 0.0

    @property
    def holds(self) -> bool:
        if self.rule == "within range":
            return self.low <= self.measured <= self.high
        if self.rule == "upper bound":
            return self.measured <= self.high * 1.01 and self.high <= self.measured + 250
        if self.rule == "0.5 %":
            return abs(self.error) <= 0.5
        return abs(self.error) <= 3 or abs(self.middle - self.measured) <= 250


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def figures() -> tuple[Figure, ...]:
    """All that is checked."""
    return (*llamacpp_h200(), *vllm_h200(), *published_rows())


GGUFS: dict[str, Callable[[], ModelShape]] = {
    "qwen2.5-14b Q4_K_M": models.qwen25_14b,
    "llama-3.1-8b Q4_K_M": models.llama31_8b,
    "gemma-3-12b Q4_K_M": models.gemma3_12b,
    "qwen3-8b Q4_K_M": models.qwen3_8b,
}


def llamacpp_h200() -> Iterator[Figure]:
    """Whole processes on a GPU, before and after the first request."""
    for row in read("memory_llamacpp_h200.csv"):
        server = Server(
            total_tokens=int(row["ctx_total"]),
            parallel=int(row["parallel"]),
            unified=row["unified_kv"] == "yes",
            kv_cache_type=row["kv_type"],
            flash_attention=row["flash_attention"] != "off",
            ubatch_tokens=int(row["ubatch"]),
        )
        shape, layers = GGUFS[row["model"]](), row["gpu_layers"]
        found = llamacpp.buffers(shape, server) if layers == "all" else llamacpp.partial(shape, server, int(layers))
        name = f"{row['model']} {row['ctx_total']}x{row['parallel']} {row['kv_type']} {row['flash_attention']} {layers}"
        predicted = found.total / MIB + CONTEXT_HIGH_MIB
        for column in ("nvidia_smi_used_mib", "after_first_request_mib"):
            yield Figure(name, column, predicted, predicted, float(row[column]), "MiB", "3 % or 250 MiB")


SERVED: dict[str, Callable[[], ModelShape]] = {
    "llama-3.1-8b bf16": configs.llama31_8b,
    "qwen2.5-14b Q4_K_M GGUF": models.qwen25_14b,
    "qwen2.5-7b bf16": configs.qwen25_7b,
    "gemma-3-12b (text) bf16": configs.gemma3_12b_text,
}
H200_GIB = 139.80  # what programs see of it


def vllm_h200() -> Iterator[Figure]:
    for row in read("memory_vllm_h200.csv"):
        settings = VllmSettings(
            context_tokens=int(row["max_model_len"]),
            max_num_seqs=int(row["max_num_seqs"]),
            max_num_batched_tokens=int(row["max_num_batched_tokens"]),
            kv_cache_dtype=row["kv_cache_dtype"],
            utilization=float(row["gpu_memory_utilization"]),
            enforce_eager=row["enforce_eager"] == "yes",
            version="0.23.0",
        )
        shape = SERVED[row["model"]]()
        name = f"{row['model']} {row['max_model_len']} {row['kv_cache_dtype']} eager {row['enforce_eager']}"
        held, room = vllm.parts(shape, settings), float(row["kv_available_gib"])
        budget = H200_GIB * GIB * (settings.utilization or 0)
        total = held.total
        yield _span(name, "weights_gib", held.weights, row, "0.5 %")
        yield _span(name, "activation_peak_gib", held.activation, row, "within range")
        yield _span(name, "non_torch_gib", held.outside, row, "within range")
        low, high = (budget - total.high) / MIB, (budget - total.low) / MIB
        yield Figure(name, "kv_available_gib", low, high, room * 1024, "MiB", "within range")
        blocks = vllm_cache.cache(shape, settings)
        tokens = blocks.concurrency(int(room * GIB), settings.context_tokens) * settings.context_tokens
        measured = float(row["kv_cache_tokens"])
        yield Figure(name, "kv_cache_tokens", tokens, tokens, measured, "tokens", "0.5 %")
        ratio = tokens / settings.context_tokens
        yield Figure(name, "max_concurrency", ratio, ratio, float(row["max_concurrency"]), "tokens", "0.5 %")


def _span(row: str, name: str, span: vllm.Span, measured: dict[str, str], rule: Rule) -> Figure:
    # the log rounds to hundredths of a GiB, and so may a bound be off by half of one
    half = 5.12 if rule == "within range" else 0.0
    return Figure(row, name, span.low / MIB - half, span.high / MIB + half, float(measured[name]) * 1024, "MiB", rule)


def key(row: dict[str, str]) -> tuple[str, ...]:
    """What tells rows of the published figures apart."""
    return (row["source"], row["model"], row["ctx"], row["parallel"], row["kv_dtype"], row["note"][:24])


def measured_of(row: dict[str, str]) -> dict[str, float]:
    """The figures that a published row has."""
    names = ("total_gib", "weights_gib", "kv_gib", "compute_gib", "kv_tokens")
    return {name: float(row[name]) for name in names if row[name]}


def published_rows() -> Iterator[Figure]:
    for row in read("memory_published.csv"):
        predictions = _plan(row) if row["source"].startswith("measured") else published.predictions(row)
        for name, (span, rule) in predictions.items():
            unit, factor = ("tokens", 1) if name == "kv_tokens" else ("MiB", 1024)
            scale = 1 if name == "kv_tokens" else MIB
            label = f"{row['model']} {row['ctx']}x{row['parallel']} {row['kv_dtype']} {row['source'][-14:]}"
            measured = measured_of(row)[name] * factor
            yield Figure(label, name, span[0] / scale, span[1] / scale, measured, unit, rule)  # type: ignore[arg-type]


def _plan(row: dict[str, str]) -> dict[str, tuple[tuple[float, float], Rule]]:
    """Figures of llama.cpp's own allocation, on a device that needs no plain copy of a quantized cache."""
    build = next(build for start, build in published.PLANNED.items() if row["model"].startswith(start))
    found = llamacpp.buffers(build(), server_of(row))
    rules: dict[str, tuple[float, Rule]] = {
        "weights_gib": (found.weights, "0.5 %"),
        "kv_gib": (found.kv_cache + found.state, "0.5 %"),
        "compute_gib": (found.compute, "3 % or 250 MiB"),
        "total_gib": (found.total, "3 % or 250 MiB"),
    }
    skipped = {entry["figure"] for entry in unchecked_of(row)}
    return {name: ((size, size), rule) for name, (size, rule) in rules.items() if name not in skipped}


def server_of(row: dict[str, str]) -> Server:
    batch = re.search(r"ub=(\d+)", row["note"])
    return Server(
        total_tokens=int(row["ctx"]),
        parallel=int(row["parallel"]),
        unified="kv_unified=1" in row["note"],
        kv_cache_type=row["kv_dtype"],
        flash_attention="fa=off" not in row["note"],
        ubatch_tokens=int(batch[1]) if batch else 512,
        dequantizes=False,
    )


def unchecked_of(row: dict[str, str]) -> list[dict[str, str]]:
    """What stands in unchecked.csv about a published row: entries are for what its source and model begin with."""
    return [
        entry
        for entry in read("unchecked.csv")
        if row["source"].startswith(entry["source"]) and row["model"].startswith(entry["model"])
    ]


def overhead_seen() -> tuple[int, int]:
    """The bounds of a process's own share on one GPU, in MiB."""
    return CONTEXT_LOW_MIB, CONTEXT_HIGH_MIB
