# mistakes: NA102 at every conv, NA105 relu().relu_() in forward; models: VoxNet(); input: 2x1x16x16x16
import torch
from torch import nn


class VoxNet(nn.Module):
    """3-D CNN in method-call style."""

    def __init__(self, n_classes: int = 10, width: int = 8):
        super().__init__()
        self.conv_a = nn.Conv3d(
            in_channels=1,
            out_channels=width,
            kernel_size=3,
            padding=1,
        )
        self.norm_a = nn.BatchNorm3d(num_features=width)
        self.conv_b = nn.Conv3d(
            in_channels=width,
            out_channels=2 * width,
            kernel_size=3,
            padding=1,
            bias=True,  # default
        )
        self.norm_b = nn.BatchNorm3d(num_features=2 * width)
        self.out = nn.Linear(2 * width, n_classes)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        h = self.norm_a(self.conv_a(volume)).relu().relu_()
        h = torch.nn.functional.max_pool3d(h, 2)
        h = (
            self.norm_b(self.conv_b(h))
            .relu()
            .mean(dim=(2, 3, 4))
        )
        return self.out(h)
