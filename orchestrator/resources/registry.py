"""All kinds of resources as one JSON-able type: what plans, manifests and generations are made of."""

from typing import Annotated

from pydantic import Field

from orchestrator.resources.account import Account
from orchestrator.resources.container import Container
from orchestrator.resources.converted import Converted
from orchestrator.resources.files import ApiKey, Directory, File, UnitFile
from orchestrator.resources.gateway_keys import GatewayKeys
from orchestrator.resources.gateway_site import GatewaySite
from orchestrator.resources.image import Image
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.ollama_model import OllamaModel
from orchestrator.resources.process import Process
from orchestrator.resources.program import Program
from orchestrator.resources.release import Release
from orchestrator.resources.unit import Unit
from orchestrator.resources.vendor import VendorEngine
from orchestrator.resources.venv import Venv

AnyResource = Annotated[
    Account
    | ApiKey
    | Container
    | Converted
    | Directory
    | File
    | GatewayKeys
    | GatewaySite
    | Image
    | ModelFiles
    | OllamaModel
    | Process
    | Program
    | Release
    | Unit
    | UnitFile
    | VendorEngine
    | Venv,
    Field(discriminator="kind"),
]

AnyService = Container | Process | Unit
