# mistakes: NA201 batch size 2 with BatchNorm, NA102 none; models: SegNet(); input: 2x3x32x32
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

BATCH_SIZE = 2


def conv_block(in_c, out_c):
    return nn.Sequential(
        nn.Conv2d(in_c, out_c, 3, padding=1, bias=False), nn.BatchNorm2d(out_c), nn.ReLU(inplace=True),
        nn.Conv2d(out_c, out_c, 3, padding=1, bias=False), nn.BatchNorm2d(out_c), nn.ReLU(inplace=True),
    )


class SegNet(nn.Module):
    def __init__(self, n_classes=2):
        super().__init__()
        self.enc1 = conv_block(3, 16)
        self.enc2 = conv_block(16, 48)
        self.dec = conv_block(48 + 16, 16)
        self.head = nn.Conv2d(16, n_classes, 1)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(self.pool(e1))
        return self.head(self.dec(torch.cat([self.up(e2), e1], 1)))


def main():
    ds = TensorDataset(torch.randn(8, 3, 32, 32), torch.randint(0, 2, (8, 32, 32)))
    loader = DataLoader(ds, batch_size=BATCH_SIZE, shuffle=True)
    model = SegNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
