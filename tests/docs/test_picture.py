"""The picture in the README is drawn from the transcript beside it, and from nothing else."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

IMAGES = ROOT / "docs" / "images"


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    described = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    monkeypatch.setattr(module, "IMAGES", tmp_path)
    shutil.copy(IMAGES / "up.txt", tmp_path)
    return module


def test_it_is_what_the_transcript_gives(picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    picture.main()
    assert (tmp_path / "up.svg").read_text("utf-8") == (IMAGES / "up.svg").read_text("utf-8")


def test_it_shows_a_healthy_endpoint_and_loads_nothing_from_elsewhere() -> None:
    drawn = (IMAGES / "up.svg").read_text("utf-8")
    assert "generates" in drawn
    assert "endpoint" in drawn
    assert "url(http" not in drawn
