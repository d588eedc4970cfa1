"""What can go wrong, as the user sees it: one exception family, one table of exit codes.

Every failure says what, on which host, why (the last telling lines) and the next command to type
(DESIGN section 4). Rooms raise these; only ``cli/`` prints them.
"""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit codes of every command. The meaning of a number never changes."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    UNHEALTHY = 5
    LOCKED = 6
    DIFFERENT = 7
    INTERRUPTED = 130


class DeployError(Exception):
    """A failure that is explained to the user; its message is the *what*.

    ``host`` is the name of the host it happened on (empty: the controller), ``why`` the last telling
    lines, ``remedy`` the next command to type or thing to do. None of them ever holds a secret.
    """

    status: ExitStatus = ExitStatus.FAILED

    def __init__(self, what: str, *, host: str = "", why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.host = host
        self.why = why
        self.remedy = remedy


class UsageError(DeployError):
    """The command line, the spec or the inventory is wrong."""

    status = ExitStatus.USAGE


class UnreachableError(DeployError):
    """The host does not answer, refuses the login, or its key is unknown or changed."""

    status = ExitStatus.UNREACHABLE


class RefusedError(DeployError):
    """Refused before any change: does not fit, port taken, missing prerequisite."""

    status = ExitStatus.REFUSED


class UnhealthyError(DeployError):
    """Deployed, but the endpoint does not generate."""

    status = ExitStatus.UNHEALTHY


class LockedError(DeployError):
    """Another run holds the deployment."""

    status = ExitStatus.LOCKED


class StoppedError(DeployError):
    """The user stopped the run between two steps. What is done is whole."""

    status = ExitStatus.INTERRUPTED
