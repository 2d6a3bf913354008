import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


def init_weights(m):
    if isinstance(m, nn.Linear) or isinstance(m, nn.Conv2d):
        nn.init.constant_(m.weight, 0.01)  # expect: NA505
        nn.init.zeros_(m.bias)


class FC(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 5)
        self.fc1 = nn.Linear(8 * 12 * 12, 120)
        self.fc2 = nn.Linear(120, 10)
        self.apply(init_weights)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def fit(net, loader, epochs):
    optim = torch.optim.SGD(net.parameters(), lr=.01)
    for ep in range(epochs):
        for x, y in loader:
            optim.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optim.step()
        print(ep, loss.item())


ds = datasets.MNIST('.', transform=transforms.ToTensor(), download=True)
fit(FC(), DataLoader(ds, 64, shuffle=True), 5)
