# mistakes: NA102 at long multi-line call, NA101 conv->act->norm in block3; models: BlackNet(); input: 2x3x32x32
from torch import nn


class BlackNet(nn.Module):
    def __init__(
        self,
        in_channels: int = 3,
        hidden_channels: int = 16,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(
                in_channels,
                hidden_channels,
                kernel_size=(3, 3),
                stride=(2, 2),
                padding=(1, 1),
                padding_mode="reflect",  # no zeros at the border
            ),
            nn.BatchNorm2d(hidden_channels),
            nn.ReLU(),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(hidden_channels, hidden_channels * 2, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(hidden_channels * 2),
            nn.ReLU(),
        )
        self.block3 = nn.Sequential(
            nn.Conv2d(hidden_channels * 2, hidden_channels * 2, kernel_size=3, padding=1),
            # the activation
            nn.ReLU(),
            # the norm
            nn.BatchNorm2d(hidden_channels * 2),
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(output_size=1),
            nn.Flatten(),
            nn.Linear(hidden_channels * 2, num_classes),
        )

    def forward(self, x):
        return self.classifier(self.block3(self.block2(self.block1(x))))
