"""Whether a replacement is kept, by what was measured."""

from __future__ import annotations

from normadvisor.types.optimization import Ratio

__all__ = ["SLOWER", "is_slower", "judged"]

SLOWER = 0.98
"""Ratio of the whole model below which a replacement is taken back, however much faster it is alone."""


def is_slower(whole: Ratio) -> bool:
    """Whether a whole model became slower: its ratio is below 0.98, or below 1 with both quartiles."""
    return whole.median < SLOWER or (whole.median < 1 and whole.high < 1)


def judged(kernel: Ratio | None, whole: Ratio, gain: float) -> tuple[str, str]:
    """The verdict, one of :data:`~normadvisor.types.optimization.VERDICTS`, and why.

    What could be measured alone has to be faster alone by ``gain``, and the whole model must not be slower. What could not has to make
    the whole model faster by ``gain``, with the lower quartile above 1.

    Args:
        kernel: the operations alone; ``None`` where there are none.
        whole: the whole model with and without the replacement.
        gain: ratio from which on something is faster.

    """
    slower = is_slower(whole)
    if kernel is None:
        if whole.median >= gain and whole.low > 1:
            return "kept", ""
        return ("slower", "") if slower else ("no gain", "")
    if kernel.median < gain:
        return ("slower" if kernel.median < 1 else "no gain"), ""
    if slower:
        return "slower", f"the operations alone are {kernel.median:.2f} times as fast, but the whole model is slower"
    return "kept", ""
