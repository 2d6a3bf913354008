"""Which tensors are read where they are."""

from __future__ import annotations

import pytest
import torch

from normadvisor.fused.add_norm.layout import readable, rows_of
from normadvisor.fused.common.memory_format import like

BASE = torch.zeros(4, 6, 48)
CASES = {
    "contiguous": (BASE, BASE.clone(), 1, (48, 48)),
    "slices": (BASE[..., :16], BASE[..., 16:32], 1, (48, 48)),
    "slice and contiguous": (BASE[..., :16], torch.zeros(4, 6, 16), 1, (48, 16)),
    "two dimensions": (BASE, BASE.clone(), 2, (288, 288)),
    "all dimensions": (BASE, BASE.clone(), 3, (1152, 1152)),
    "the same order": (BASE.transpose(0, 1), BASE.clone().transpose(0, 1), 1, (48, 48)),
    "every second row": (BASE[:, ::2], BASE[:, ::2], 1, (96, 96)),
    "one row": (BASE[:1, :1, :16], BASE[:1, 1:2, :16], 1, (16, 16)),
    "different orders": (BASE.transpose(0, 1), torch.zeros(6, 4, 48), 1, None),
    "columns that are not contiguous": (BASE.transpose(1, 2), BASE.transpose(1, 2), 1, None),
    "expanded": (torch.zeros(48).expand(4, 6, 48), BASE, 1, None),
    "rows that overlap": (torch.zeros(100).as_strided((4, 6, 48), (12, 2, 1)), BASE, 1, None),
    "every second row of every second block": (torch.zeros(8, 12, 16)[::2, :5], torch.zeros(4, 5, 16), 1, None),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_found(case):
    x, residual, normalized, expected = CASES[case]
    assert readable(x, residual, normalized) is (expected is not None)
    first, second, *distances = rows_of(x, residual, normalized)
    columns = torch.Size(x.shape[x.dim() - normalized :]).numel()
    assert tuple(distances) == (expected or (columns, columns))
    copied = (first is not x or second is not residual) and not (x.is_contiguous() and residual.is_contiguous())
    assert copied is (expected is None)


def test_like_copies_only_where_strides_differ():
    assert like(BASE, BASE.clone()) is BASE
    transposed = BASE.transpose(0, 1)
    assert like(transposed, transposed) is transposed
    found = like(torch.ones(6, 4, 48), transposed)
    assert (found.stride(), bool(found.eq(1).all())) == (transposed.stride(), True)
