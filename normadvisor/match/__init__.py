"""Rules against a traced model: patterns are searched in the graph, and every event becomes one finding."""

from normadvisor.match.engine import match

__all__ = ["match"]
