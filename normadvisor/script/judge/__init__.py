"""From what was recorded on all paths to the events that rules see: what calls are for, and what is meant."""

from __future__ import annotations

from normadvisor.script.judge.judge import judged

__all__ = ["judged"]
