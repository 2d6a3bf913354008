# unsafe: `self.beta` may be another number for other layers or calls, which would make it another function
# unsafe: where the input and the weight have two dtypes, as in a model that keeps its norms in float32, the function gives that of the input, and for some pairs an error, while what stands here gives the wider one; `self.root` may be another number for other layers or calls, which would make it another function
# unsafe: with a slope above 1 it is another function
# Numbers that a layer holds: some are told to the function, and others only make it that function.
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.beta, self.alpha, self.slope, self.eps, self.root = 1.0, 0.3, 0.2, 1e-5, 8**0.5
        self.gain = nn.Parameter(torch.ones(8))

    def forward(self, x):
        x = self.fc(x)
        x = F.silu(x)
        x = self.fc(x)
        x = F.elu(x, alpha=self.alpha)
        x = self.fc(x)
        x = F.rms_norm(x, x.shape[-1:], eps=self.eps)
        x = self.fc(x)
        x = F.rms_norm(x, self.gain.shape, weight=self.gain, eps=1.25e-25)
        x = self.fc(x)
        return F.leaky_relu(x, negative_slope=self.slope)
