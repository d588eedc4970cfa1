"""One inventory file: hosts, groups and defaults, as written."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.spec.address import check_hop, check_host, check_user
from orchestrator.spec.fields import Matching, Port, Reading, Section, Word

ENTRY_NAME = Matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a name of letters, digits, dots, dashes and underscores")


def _key(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).isprintable() or str(value) in {"", "."}:
        raise ValueError("the path of a private key file")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError("the path of a private key file; the home directory in it is unknown") from None


def _hops(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _empty(value: object) -> object:
    return {} if value is None else value


def _not_local(name: str) -> str:
    if name == "local":
        raise ValueError("another name: local is always this machine (a host may say `address: local`)")
    return name


Hop = Annotated[str, AfterValidator(check_hop)]
Hops = Annotated[tuple[Hop, ...], BeforeValidator(_hops, json_schema_input_type=tuple[str, ...] | str)]


class Settings(Section):
    """What descends from defaults to groups, from groups to their children, and to hosts. None says nothing."""

    user: Annotated[str, AfterValidator(check_user)] | None = Field(
        default=None, description="Login name; else the SSH configuration's, else this user's.", examples=["ops"]
    )
    port: Port | None = Field(
        default=None, description="SSH port; else the SSH configuration's, else 22.", examples=[22]
    )
    key: Annotated[Path, Reading(_key, {"type": "string"})] | None = Field(
        default=None,
        description="Path of the private key file on this machine; `~` is the home.",
        examples=["~/.ssh/id"],
    )
    jump: Hops | None = Field(
        default=None,
        description="Hosts to go through, the first one first: names of the inventory or of the SSH configuration, "
        "or user@host:port. An empty list goes straight.",
        examples=[["bastion"]],
    )
    become: Literal["auto", "always", "never"] | None = Field(
        default=None,
        description="Become root by sudo: always, never, or auto: where sudo lets us. Without it auto.",
        examples=["auto"],
    )
    vars: Annotated[dict[str, Any], BeforeValidator(_empty, json_schema_input_type=dict[str, Any] | None)] = Field(
        default={},
        description="Keys of the spec that differ here, nested or dotted (`vllm.gpu_mem: 0.9`). Nearer ones win.",
        examples=[{"vllm": {"gpu_mem": 0.9}}],
    )


class HostSettings(Settings):
    """A machine."""

    address: Annotated[str, AfterValidator(check_host)] | None = Field(
        default=None,
        description="Name or address to connect to, `local` for this machine. Without it the host's own name.",
        examples=["10.0.0.11"],
    )


class GroupSettings(Settings):
    """A group of machines."""

    hosts: tuple[Word, ...] = Field(default=(), description="Hosts of the group.", examples=[["gpu01", "gpu02"]])
    children: tuple[Word, ...] = Field(
        default=(), description="Groups inside the group; their own settings win.", examples=[["old"]]
    )


EntryName = Annotated[str, ENTRY_NAME, AfterValidator(_not_local)]


def _or_nothing(section: type) -> BeforeValidator:
    """`gpu01:` alone is a section without settings."""
    return BeforeValidator(_empty, json_schema_input_type=section | None)


Hosts = dict[EntryName, Annotated[HostSettings, _or_nothing(HostSettings)]]
Groups = dict[EntryName, Annotated[GroupSettings, _or_nothing(GroupSettings)]]


class InventoryFile(Section):
    """An inventory file; a folder of them counts as one inventory."""

    defaults: Annotated[Settings, _or_nothing(Settings)] = Field(
        default=Settings(), description="Settings of every host that says nothing nearer.", examples=[{"user": "ops"}]
    )
    hosts: Annotated[Hosts, _or_nothing(Hosts)] = Field(
        default={}, description="Machines by name.", examples=[{"gpu01": {"address": "10.0.0.11"}}]
    )
    groups: Annotated[Groups, _or_nothing(Groups)] = Field(
        default={}, description="Groups by name.", examples=[{"gpus": {"hosts": ["gpu01"]}}]
    )
