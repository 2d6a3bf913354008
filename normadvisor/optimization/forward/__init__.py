"""The forward of one live module as a graph, and other code in its place: the module, its children and its keys stay what they are."""

from normadvisor.optimization.forward.guards import reached
from normadvisor.optimization.forward.install import as_written, install
from normadvisor.optimization.forward.local import LocalGraph, Untraced, drop_unused, find, replace
from normadvisor.optimization.forward.recording import local_graphs

__all__ = ["LocalGraph", "Untraced", "as_written", "drop_unused", "find", "install", "local_graphs", "reached", "replace"]
