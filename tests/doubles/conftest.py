"""An Ollama for the tests of this folder: the double, or the one that DEPLOYCTL_TEST_OLLAMA names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .gguf import write_gguf
from .ollama.running import GGUF, Ollama, install


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin/ollama`` of an unpacked archive."""
    return install(tmp_path_factory.mktemp("installation"))


@pytest.fixture
def ollama(program: Path, tmp_path: Path) -> Ollama:
    """An installation that does not serve yet."""
    home = tmp_path / "home"
    home.mkdir()
    return Ollama(program, home)


@pytest.fixture
def server(ollama: Ollama) -> Iterator[Ollama]:
    """A running server without models."""
    with ollama.serve():
        yield ollama


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A GGUF with a chat template."""
    return Path(GGUF) if GGUF else write_gguf(tmp_path / "tiny.gguf")


@pytest.fixture
def model(server: Ollama, gguf: Path) -> Ollama:
    """A running server with the model ``tiny``."""
    created = server.create("tiny", f"FROM {gguf}\nPARAMETER num_ctx 512\n")
    assert created.returncode == 0, created.stderr
    return server
