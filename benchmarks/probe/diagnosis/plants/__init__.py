"""Troubles, each with its cause in code; importing this registers them all."""

from benchmarks.probe.diagnosis.plants import arithmetic, depth, gradient, modes, start, units, unseen

__all__ = ["arithmetic", "depth", "gradient", "modes", "start", "units", "unseen"]
