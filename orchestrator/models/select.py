"""Which files of a repository make the model that was asked for. Pure: paths in, paths out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from orchestrator.errors import UsageError

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})", re.IGNORECASE)
# The label closes the name: IQ4_XS, Q4_K_M, Q4_0_4_4, TQ1_0, MXFP4_MOE, BF16; Unsloth writes UD- before it.
_LABEL = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_[A-Z0-9]+)*|NVFP4|BF16|FP?16|FP?32))$",
    re.IGNORECASE,
)
# Not models by themselves: vision projectors and importance matrices.
_BESIDE = ("mmproj*", "*-mmproj*", "imatrix*", "*.imatrix.gguf", "*-imatrix.gguf")

TOKENIZER_AND_CONFIG = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""What vLLM needs beside a GGUF (DESIGN 5.3)."""

_WHOLE = (*TOKENIZER_AND_CONFIG, "*.json", "*.jinja", "*.py", "*.safetensors")


@dataclass(frozen=True)
class GgufSet:
    """One GGUF: a single file, or all shards of a split one in their order."""

    stem: str
    label: str
    paths: tuple[str, ...]
    count: int

    @property
    def main(self) -> str:
        """The file that a runtime is pointed at."""
        return self.paths[0]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Those of the shards that are there, of a split one."""
        stems = (path[: -len(".gguf")] for path in self.paths)
        return tuple(int(match["number"]) for stem in stems if (match := _SHARD.fullmatch(stem)))

    @property
    def is_whole(self) -> bool:
        """Whether no shard is missing, nor there twice."""
        single = self.count == 1 and len(self.paths) == 1
        return single or sorted(self.numbers) == list(range(1, self.count + 1))


def gguf_sets(paths: Iterable[str]) -> tuple[GgufSet, ...]:
    """The GGUF models among the files, by stem."""
    groups: dict[tuple[str, int], list[str]] = {}
    for path in sorted(paths):
        name = PurePosixPath(path).name.lower()
        if name.endswith(".gguf") and not any(fnmatchcase(name, pattern) for pattern in _BESIDE):
            groups.setdefault(_stem(path), []).append(path)
    return tuple(GgufSet(stem, quant_label(stem), tuple(found), count) for (stem, count), found in groups.items())


def _stem(path: str) -> tuple[str, int]:
    stem = path[: -len(".gguf")]
    shard = _SHARD.fullmatch(stem)
    return (shard["stem"], int(shard["count"])) if shard else (stem, 1)


def quant_label(stem: str) -> str:
    """The quantization label that closes a file's name, in upper case; empty if there is none."""
    found = _LABEL.search(PurePosixPath(stem).name)
    return found[1].upper() if found else ""


def model_name(path: str) -> str:
    """The name of a GGUF without folder, number of the shard and quantization label: what its siblings share."""
    stem, _ = _stem(path)
    name = PurePosixPath(stem).name
    return _LABEL.sub("", name).lower()


def by_quant(repo: str, quant: str, paths: Sequence[str]) -> GgufSet:
    """The one GGUF with this label. Raises UsageError, listing what is there, when there is none or more than one."""
    sets = gguf_sets(paths)
    found = [one for one in sets if one.label == quant.upper()]
    if len(found) > 1:
        files = ", ".join(f"hf:{repo}/{one.main}" for one in found)
        raise UsageError(f"hf:{repo} has {len(found)} models labelled {quant}", remedy=f"Name the file: {files}.")
    if not found:
        raise UsageError(f"hf:{repo} has no GGUF labelled {quant}", remedy=_offer(repo, sets))
    return complete(found[0])


def by_file(repo: str, file: str, paths: Sequence[str]) -> GgufSet:
    """The GGUF that the file is, or is a shard of. Raises UsageError when it is not there."""
    for one in gguf_sets(paths):
        if file in one.paths:
            return complete(one)
    if file in paths:  # a projector asked for by name
        stem, _ = _stem(file)
        return GgufSet(stem, quant_label(stem), (file,), 1)
    raise UsageError(f"hf:{repo} has no file {file}", remedy=_offer(repo, gguf_sets(paths)))


def complete(one: GgufSet) -> GgufSet:
    """The set itself. Raises UsageError when shards of a split GGUF are missing."""
    if not one.is_whole:
        missing = sorted(set(range(1, one.count + 1)) - set(one.numbers))
        names = ", ".join(str(number) for number in missing[:10]) or "one twice"
        raise UsageError(
            f"The split GGUF {one.stem} is not whole: of {one.count} shards, missing: {names}",
            remedy="Take another quantization, or ask the repository's owner.",
        )
    return one


def _offer(repo: str, sets: Sequence[GgufSet]) -> str:
    if not sets:
        return f"It holds no GGUF; write hf:{repo} for a whole safetensors repository."
    labels = sorted({one.label for one in sets if one.label})
    rest = [f"hf:{repo}/{one.main}" for one in sets if not one.label]
    offers = [f"hf:{repo}:{label}" for label in labels] + rest
    return "There is: " + ", ".join(offers[:40]) + "."


def beside_gguf(paths: Iterable[str]) -> tuple[str, ...]:
    """Tokenizer and configuration of a base repository."""
    return _at_top(paths, TOKENIZER_AND_CONFIG)


def whole(repo: str, paths: Sequence[str]) -> tuple[str, ...]:
    """The files of a safetensors repository that an engine reads; never pickles, nor second copies of the weights.

    Raises UsageError when it holds no safetensors.
    """
    chosen = _at_top(paths, _WHOLE)
    weights = [path for path in chosen if path.endswith(".safetensors")]
    if not weights:
        if gguf_sets(paths):
            raise UsageError(f"hf:{repo} holds GGUF files: name one", remedy=_offer(repo, gguf_sets(paths)))
        raise UsageError(
            f"hf:{repo} holds no safetensors", why="Only safetensors and GGUF are served.", remedy="Take another one."
        )
    # Mistral's repositories hold the weights twice: model-*.safetensors and consolidated*.safetensors.
    second = {path for path in weights if path.startswith("consolidated")}
    if second and len(second) < len(weights):
        second |= {path for path in chosen if path.startswith("consolidated")}
        return tuple(path for path in chosen if path not in second)
    return chosen


def _at_top(paths: Iterable[str], patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        path
        for path in sorted(paths)
        if "/" not in path and any(fnmatchcase(path, pattern) for pattern in patterns) and not path.endswith(".gguf")
    )
