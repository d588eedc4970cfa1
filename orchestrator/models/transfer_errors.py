"""What a failed delivery means for the user. The reasons are those of `deliver.sh`."""

from collections.abc import Sequence

from orchestrator.errors import DeployError, RefusedError, UnreachableError
from orchestrator.hosts.base import UNKNOWN, Host, Result
from orchestrator.models.delivery import Delivery
from orchestrator.models.events import Events

_AGAIN = "Run the same command again: it goes on where it stopped."

# reason -> what, remedy; {name}, {source}, {folder} and {detail} are filled in.
_REASONS = {
    "unauthorized": (
        "{source} is not given out without a valid token (HTTP 401)",
        "Set HF_TOKEN; for a gated model, accept its licence on its page first.",
    ),
    "forbidden": (
        "{source} is not given out to this token (HTTP 403)",
        "Accept the model's licence on its page with this token's account, or set another HF_TOKEN.",
    ),
    "missing": ("{source} is not there (HTTP 404)", "Check the revision; the mirror may lack this file."),
    "range": ("{source} is smaller than its metadata says (HTTP 416, or its Ranges are wrong)", "Try another mirror."),
    "larger": ("{source} is larger than its metadata says", "Try another mirror."),
    "busy": ("{source} stays busy (HTTP {detail})", "Wait a few minutes. " + _AGAIN),
    "http": ("{source} answered HTTP {detail}", "See whether the address is right."),
    "redirect": ("{source} redirects too often, or to a place that is not allowed", "Try another mirror."),
    "cut": ("Getting {name} was cut again and again", _AGAIN),
    "moved": ("Another run writes {name} at the same time", "Wait for it, then run this again."),
    "mismatch": (
        "{name} from {source} is not what its metadata says: wrong digest, twice",
        "Nothing of it was kept. Try another mirror, and check the memory and the disk of the host.",
    ),
    "unreachable": (
        "{source} cannot be reached",
        "See the host's DNS, proxy (HTTPS_PROXY) and certificates; set HF_ENDPOINT to use a mirror, or let this "
        "machine push the file.",
    ),
    "directory": ("{destination} is a directory", "Move it away."),
}


def explain(host: Host, files: Sequence[Delivery], events: Events, result: Result) -> DeployError:
    """The failure of a run of the script, as the user should see it."""
    file = files[events.failed]
    if result.exited == UNKNOWN:
        return UnreachableError("The connection was lost during a transfer", host=host.name, remedy=_AGAIN)
    if events.reason == "unwritable":
        return RefusedError(
            f"{file.destination} cannot be written",
            host=host.name,
            why=result.stderr.strip()[-500:],
            remedy="See the space (df -h), the folder and its permissions.",
        )
    if events.reason not in _REASONS:
        what = "ran out of time" if result.exited == 124 else f"stopped with status {result.exited}"
        why = result.stderr.strip()[-500:]
        return DeployError(f"The transfer of {file.name} {what}", host=host.name, why=why, remedy=_AGAIN)
    what, remedy = _REASONS[events.reason]
    filled = what.format(name=file.name, source=file.source, destination=file.destination, detail=events.detail)
    return DeployError(filled, host=host.name, why=result.stderr.strip()[-500:], remedy=remedy)
