"""A Docker Engine that fails in every way the SDK knows: always an explained failure, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from orchestrator.errors import DeployError
from orchestrator.progress import Quiet
from orchestrator.resources.base import Observed
from orchestrator.resources.image import Image
from tests.resources.test_observing import recorded

TROUBLE = [
    DockerException("the daemon says no"),
    APIError("500 Server Error", explanation="driver failed programming external connectivity"),
    requests.ConnectionError("Connection aborted."),
    requests.ReadTimeout("Read timed out."),
    urllib3.exceptions.ProtocolError("Connection broken"),
]
each = pytest.mark.parametrize("trouble", TROUBLE, ids=lambda error: type(error).__name__)


class Engine:
    """A host whose Docker Engine answers as the test says."""

    name = "gpu01"
    is_local = False

    def __init__(self) -> None:
        self.client = MagicMock()

    def docker(self) -> Any:
        return self.client


@each
def test_a_container_that_cannot_be_started(trouble: Exception) -> None:
    engine, (container, _) = Engine(), recorded()
    engine.client.api.start.side_effect = trouble
    with pytest.raises(DeployError) as failed:
        container.apply(engine, Observed(exists=False), Quiet())  # type: ignore[arg-type]
    assert (failed.value.host, failed.value.why) == ("gpu01", str(trouble))


@each
def test_a_container_that_cannot_be_removed(trouble: Exception) -> None:
    engine, (container, _) = Engine(), recorded()
    engine.client.containers.get.return_value.stop.side_effect = trouble
    with pytest.raises(DeployError):
        container.remove(engine, Quiet())  # type: ignore[arg-type]


@each
def test_an_image_that_cannot_be_pulled_or_removed(trouble: Exception) -> None:
    engine, image = Engine(), Image(reference="vllm/vllm-openai:v0.32.0")
    engine.client.api.pull.return_value = iter([{"status": "Pulling"}])
    engine.client.api.pull.side_effect = engine.client.images.remove.side_effect = trouble
    with pytest.raises(DeployError) as failed:
        image.apply(engine, Observed(exists=False), Quiet())  # type: ignore[arg-type]
    assert "--image-archive" in failed.value.remedy
    with pytest.raises(DeployError):
        image.remove(engine, Quiet())  # type: ignore[arg-type]


def test_what_is_gone_already_is_no_trouble() -> None:
    engine, (container, _) = Engine(), recorded()
    engine.client.containers.get.side_effect = NotFound("no such container")
    engine.client.images.remove.side_effect = ImageNotFound("no such image")
    container.remove(engine, Quiet())  # type: ignore[arg-type]
    Image(reference="x:1").remove(engine, Quiet())  # type: ignore[arg-type]
    assert engine.client.containers.get.called
    assert engine.client.images.remove.called


def test_an_archive_that_is_gone_is_explained(tmp_path: Path) -> None:
    image = Image(reference="x:1", archive=f"{tmp_path}/missing.tar")
    with pytest.raises(DeployError) as failed:
        image.apply(Engine(), Observed(exists=False), Quiet())  # type: ignore[arg-type]
    assert "missing.tar" in failed.value.why


def test_whatever_differs_a_container_is_made_anew() -> None:
    """Docker cannot change one: an apply that kept it would find the same difference for ever."""
    engine, (container, inspect) = Engine(), recorded()
    inspect[0]["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"] = "1"
    seen = container.parse(json.dumps(inspect))
    assert [item.field for item in container.compare(seen)] == ["ports"]
    container.apply(engine, seen, Quiet())  # type: ignore[arg-type]
    assert engine.client.containers.get.return_value.remove.called
    assert engine.client.api.start.called
