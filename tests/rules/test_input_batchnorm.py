"""The numbers that NA112 quotes, measured again."""

from __future__ import annotations

import pytest
import torch
from torch import nn


@pytest.mark.parametrize(("batch", "quoted"), [(8, 0.26), (32, 0.14), (256, 0.05)])
def test_normalized_mean_of_one_image_moves_with_its_batch(batch, quoted):
    random = torch.Generator().manual_seed(0)
    image = 0.5 + 0.25 * torch.randn(1, 3, 16, 16, generator=random)
    norm = nn.BatchNorm2d(3, affine=False)
    means = []
    for _ in range(300):
        brightness = 0.5 + 0.2 * torch.randn(batch - 1, 1, 1, 1, generator=random)
        others = brightness + 0.15 * torch.randn(batch - 1, 3, 16, 16, generator=random)
        means.append(norm(torch.cat([image, others]))[0].mean())
    assert torch.stack(means).std().item() == pytest.approx(quoted, rel=0.15)
