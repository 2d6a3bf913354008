# fix: replace_layer bn* torch.nn.SyncBatchNorm num_features=module.num_features
# fix: replace_layer frozen torchvision.ops.FrozenBatchNorm2d num_features=8
from torch import nn
from torchvision.ops import FrozenBatchNorm2d


class Net(nn.Module):
    def __init__(self, device=None, dtype=None):
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.conv = nn.Conv2d(3, 8, 1)
        self.bn1 = nn.SyncBatchNorm(8, eps=1e-05, momentum=0.1, device=device)
        self.bn2 = nn.SyncBatchNorm(8, affine=True, **kwargs)
        self.frozen = FrozenBatchNorm2d(8)

    def forward(self, x):
        return self.conv(x)
