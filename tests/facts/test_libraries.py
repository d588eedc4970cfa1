"""Which system libraries are missing, as the loader's cache tells: said only where it can be known."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.facts import gather
from tests.facts.shells import SHELLS, ShellHost

CACHE = "2 libs found in cache `/etc/ld.so.cache'\n\tlibc.so.6 (libc6,x86-64) => /lib/libc.so.6"
NUMA = "\tlibnuma.so.1 (libc6,x86-64) => /lib/libnuma.so.1"


@pytest.mark.parametrize(
    ("ldconfig", "lacks"),
    [
        (f'printf "%s\\n" "{CACHE}"', {"libnuma.so.1"}),
        (f'printf "%s\\n" "{CACHE}" "{NUMA}"', set()),
        ("echo 'Can not open cache file' >&2; exit 1", set()),
        ("exec missing-program 2>/dev/null", set()),
    ],
)
@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_a_library_is_missing_where_the_cache_is_known_not_to_have_it(
    tmp_path: Path, shell: str, ldconfig: str, lacks: set[str]
) -> None:
    host = ShellHost(tmp_path / "host", SHELLS[shell])
    host.program("ldconfig", ldconfig.replace("`", "'"))
    assert gather(host).lacks == lacks  # type: ignore[arg-type]
