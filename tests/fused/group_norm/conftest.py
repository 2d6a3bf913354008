from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from normadvisor.fused.common.launch import overridden

if TYPE_CHECKING:
    import torch

_NO_WHOLE = {"group_norm.whole": {"limit": 0}, "group_norm.whole_backward": {"limit": 0}}
_STREAMED = {"tile": 64, "programs": 0}
_NO_STREAMED = {"group_norm.streamed": {"limit": 0}, "group_norm.streamed_backward": {"limit": 0}}
# As they are on a GPU for large tensors, with tiles small enough that small tensors take several of them.
WAYS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "whole": {},
    "streamed": {**_NO_WHOLE, "group_norm.streamed": _STREAMED, "group_norm.streamed_backward": _STREAMED},
    "split": {
        **_NO_WHOLE,
        **_NO_STREAMED,
        **{f"group_norm.{name}": {"tile": 64, "programs": 8} for name in ("statistics", "apply", "sums", "gradient")},
        "group_norm.combine": {"tile": 32},
    },
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every way to compute a GroupNorm, see normadvisor/fused/group_norm/plan.py."""
    with overridden(WAYS[request.param]):
        yield request.param


@pytest.fixture(params=["channels first", "channels last"])
def layout(request: pytest.FixtureRequest):
    """Puts a tensor (N, C, *spatial) into a memory format."""

    def first(x: torch.Tensor) -> torch.Tensor:
        return x.contiguous()

    def last(x: torch.Tensor) -> torch.Tensor:
        return x.movedim(1, -1).contiguous().movedim(-1, 1)

    return first if request.param == "channels first" else last
