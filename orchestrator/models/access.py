"""Whose token opens the Hub: the one that the spec's variable names, or the login of huggingface_hub."""

import os
from pathlib import Path

from orchestrator.hosts.private import refuse_shared
from orchestrator.hosts.secret import Secret


def hub_token(variable: str) -> Secret | None:
    """The token in the controller's environment under that name; for HF_TOKEN also that of ``hf auth login``.

    Raises RefusedError where others may read the file in which that login lies.
    """
    value = os.environ.get(variable, "")
    if not value and variable == "HF_TOKEN":
        from huggingface_hub import constants, get_token

        refuse_shared(Path(constants.HF_TOKEN_PATH))
        value = get_token() or ""
    return Secret(value) if value else None
