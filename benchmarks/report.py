"""The heading every result file carries: date, versions, command."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

__all__ = ["header"]

_PACKAGES = ("normadvisor", "torch", "torchvision", "timm", "transformers")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def header(title: str, command: str) -> str:
    """A markdown heading with the date, the versions at work and the command that made the table."""
    versions = ", ".join(f"{package} {_version(package)}" for package in _PACKAGES)
    today = datetime.now(tz=UTC).date().isoformat()
    return f"# {title}\n\n{today}; Python {platform.python_version()}, {versions}.\n\nMade by `{command}`.\n\n"
