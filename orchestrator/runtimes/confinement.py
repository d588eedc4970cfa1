"""What a container of ours may do: as little as the engine can live with. Pure."""

from typing import Literal

from orchestrator.facts import Facts

ENGINE_UID = 2000
"""The user ``vllm`` of the official image, made for running without root; its group is 0, which owns the image."""

PIDS_LIMIT = 16384
"""Processes and threads: enough for every core of a large machine in every worker, too few for a fork bomb's harm."""


def user_of(facts: Facts) -> tuple[int, int]:
    """User and group number inside, which are those outside too.

    Not root where the deploying identity is root: then the image's own account, unless somebody on the host has its
    number and could reach what belongs to it; root without any capability is left then. Group 0 keeps it readable for
    root's group alone, and a user of the host from tracing it. Elsewhere it is the user who deploys, as Docker's other
    users are root anyway.
    """
    if facts.uid != 0:
        return facts.uid, facts.gid
    return (0 if f"uid:{ENGINE_UID}" in facts.accounts else ENGINE_UID), 0


def confinement(facts: Facts, device: Literal["cuda", "cpu"]) -> dict[str, object]:
    """The fields of a container's description that hold it."""
    uid, gid = user_of(facts)
    return {
        "user": f"{uid}:{gid}",
        "group_add": [str(group) for group in facts.gpu_groups] if device == "cuda" else [],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": ["/tmp:exec,nosuid,nodev,mode=1777,size=2g"],  # noqa: S108  (the container's own)
        "pids_limit": PIDS_LIMIT,
    }


def identity(cache: str) -> dict[str, str]:
    """Variables for a user whom the image may not know: torch asks for a name, and dies when there is none."""
    return {"USER": "vllm", "LOGNAME": "vllm", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torchinductor"}
