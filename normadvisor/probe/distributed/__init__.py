"""Probing in several processes at once: what they agree on, add up, and tell of each other."""

from normadvisor.probe.distributed.ranks import ALONE, Ranks

__all__ = ["ALONE", "Ranks"]
