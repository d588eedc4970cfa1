"""The Hub that models come from: the public one, or a mirror of it."""

from typing import Annotated

from pydantic import Field

from orchestrator.spec.fields import Flag, Matching, Section, Url


class HubSpec(Section):
    """How the Hub is reached. Never holds the token, only the name of the variable that does."""

    endpoint: Url | None = Field(
        default=None,
        description="URL of a mirror. Without it HF_ENDPOINT of the environment counts, and then the public Hub.",
        examples=["https://hub.example.org"],
    )
    token_env: Annotated[
        str,
        Matching(
            r"(?![hH][fF]_[A-Za-z0-9]{16})[A-Za-z_][A-Za-z0-9_]{0,127}",
            "the name of an environment variable that holds the token, such as HF_TOKEN; "
            "a token itself never goes into a spec",
        ),
    ] = Field(
        default="HF_TOKEN",
        description="Name of the environment variable (on this machine) that holds the token for gated repositories.",
        examples=["HF_TOKEN"],
    )
    offline: Flag = Field(
        default=False, description="Never ask the Hub; take only what is already here or on the host.", examples=[False]
    )
