"""Where something on a host comes from, and what says that it is that and nothing else."""

from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict


class Origin(BaseModel):
    """One thing that was fetched, or made here from what was.

    ``part`` names it where a resource has several. ``pin`` is what it was held against when it came
    (``sha256:…``, ``git-sha1:…``, ``recipe:…``), ``here`` what is seen on the host now, where that can be told;
    both may be empty. ``path`` is the file on the host whose content the pin is the digest of, where it is one.
    ``unpinned`` says why it may be another thing next time; empty where it cannot.
    """

    model_config = ConfigDict(frozen=True)

    part: str = ""
    source: str
    path: str = ""
    pin: str = ""
    here: str = ""
    unpinned: str = ""

    @property
    def differs(self) -> bool:
        """Whether what is here is known to be another thing than what was asked for."""
        same_kind = self.pin.partition(":")[0] == self.here.partition(":")[0]
        return bool(self.pin and self.here) and same_kind and self.pin != self.here


def plain(source: str) -> str:
    """A URL without a user, a password or a query, which may be secret; a path as it is."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
