"""The command line."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run ``normadvisor`` with the arguments of this process and exit with its code."""
    import gc
    import sys

    # What is imported and parsed stays; looking for garbage in it again and again takes a tenth of the time of a short run.
    gc.set_threshold(50_000, 20, 50)
    from normadvisor.cli.run import run

    sys.exit(run(sys.argv[1:]))
