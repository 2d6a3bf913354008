"""The benchmarks are no part of the package: they are imported from the checkout."""

import sys
from pathlib import Path

_CHECKOUT = str(Path(__file__).parents[2])
if _CHECKOUT not in sys.path:
    sys.path.append(_CHECKOUT)
