"""A DCGAN generator and a critic for it, 32x32 pixels.

The generator's transposed convolutions have a bias although a batch normalization follows: every one of these biases is
subtracted again. The last layer has no norm behind it and keeps its bias; its tanh is meant, since images lie in [-1, 1].
The critic uses instance normalization, as a critic with a gradient penalty should: it keeps samples apart. Nothing to report.
"""

from torch import nn


class Generator(nn.Module):  # normadvisor: batch_size=64 task=generation
    def __init__(self, noise=100, width=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(noise, 4 * width, kernel_size=4),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 3, kernel_size=4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, noise):
        return self.layers(noise.view(noise.shape[0], -1, 1, 1))


class Critic(nn.Module):  # normadvisor: batch_size=64 task=generation
    def __init__(self, width=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(2 * width, affine=True),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(4 * width, affine=True),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, kernel_size=4),
            nn.Flatten(),
        )

    def forward(self, images):
        return self.layers(images)
