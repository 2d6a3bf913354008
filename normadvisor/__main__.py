"""``python -m normadvisor``."""

from __future__ import annotations

from normadvisor.cli import main

if __name__ == "__main__":
    main()
