"""Several ways to compute the same, under one signature, so that they can be measured against one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

__all__ = ["Implementation", "find", "installed", "present"]


@cache
def installed(package: str) -> bool:
    """Whether a package can be imported; looked up once, since layers ask in every forward."""
    return find_spec(package) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One way to compute something. Those of one kind take the same arguments and give the same results."""

    name: str
    """``fused``: the kernels of this package; ``torch``: torch's own operations; else the package it comes from."""
    run: Callable[..., Any]
    """Computes it, with torch's own operations where it cannot otherwise."""
    refuses: Callable[..., str]
    """Why it would leave these arguments to torch's own operations, in words; empty if it would not."""
    package: str = ""
    """What has to be installed."""
    caution: str = ""
    """How it is not a drop-in replacement: it should be chosen by people only."""

    @property
    def missing(self) -> str:
        """Why it is not there; empty if it is."""
        return "" if not self.package or installed(self.package) else f"{self.package} is not installed"


def present(known: Sequence[Implementation]) -> tuple[Implementation, ...]:
    """Give those that are installed."""
    return tuple(one for one in known if not one.missing)


def find(known: Sequence[Implementation], name: str) -> Implementation:
    """Give the one of that name.

    Raises:
        ValueError: there is none, or it is not installed.

    """
    for one in known:
        if one.name == name:
            if one.missing:
                raise ValueError(f"implementation {name!r} is not there: {one.missing}")
            return one
    raise ValueError(f"unknown implementation {name!r}: expected one of {', '.join(one.name for one in known)}")
