"""The command line."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run ``normadvisor`` with the arguments of this process and exit with its code."""
    import sys

    from normadvisor.cli.run import run

    sys.exit(run(sys.argv[1:]))
