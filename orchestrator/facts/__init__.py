"""Read-only knowledge of a host, as typed values, gathered in one round trip."""

from orchestrator.facts.gather import gather
from orchestrator.facts.layout import Layout, Scope
from orchestrator.facts.model import Facts, Gpu, GpuProcess, Listener, MigInstance, Python, VendorOllama, everywhere

__all__ = [
    "Facts",
    "Gpu",
    "GpuProcess",
    "Layout",
    "Listener",
    "MigInstance",
    "Python",
    "Scope",
    "VendorOllama",
    "everywhere",
    "gather",
]
