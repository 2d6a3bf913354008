"""Ctrl-C at a moment of which there is something to say."""

from __future__ import annotations

__all__ = ["Interrupted"]


class Interrupted(Exception):  # noqa: N818 - not an error of anybody
    """The user ended the run; the message says how things were left."""
