"""Commands of the user's own, run around a deployment on the machine where deployctl runs."""

from pydantic import Field

from orchestrator.spec.fields import Line, Section


class HooksSpec(Section):
    """What to run before and after, by /bin/sh, in the present folder. The environment has facts, and no secrets."""

    before: tuple[Line, ...] = Field(
        default=(),
        description="Commands to run for each deployment before anything is changed. One that fails stops the run.",
        examples=[["./is-the-window-open.sh"]],
    )
    after: tuple[Line, ...] = Field(
        default=(),
        description="Commands to run for each deployment that was changed, however that ended.",
        examples=[["./tell-the-load-balancer.sh"]],
    )
