import torch
from torch import nn
from torchvision import models


class FrozenBNResNet(nn.Module):
    """ImageNet trunk whose batch norms never leave eval."""

    def __init__(self, n):
        super().__init__()
        self.trunk = models.resnet50(weights=models.ResNet50_Weights.IMAGENET1K_V1)
        self.trunk.fc = nn.Sequential(nn.Dropout(.2), nn.Linear(2048, n))

    def train(self, mode: bool = True):
        super().train(mode)
        for m in self.trunk.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        return self

    def forward(self, x):
        return self.trunk(x)


def step(net, batch, opt):
    x, y = batch
    loss = nn.functional.cross_entropy(net(x), y, label_smoothing=.1)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach()


if __name__ == "__main__":
    from birds import loader

    net = FrozenBNResNet(200).cuda()
    opt = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=.9)
    best = 0
    for ep in range(40):
        net.train()
        for batch in loader("train"):
            step(net, [t.cuda() for t in batch], opt)
        net.eval()
        with torch.no_grad():
            acc = torch.cat([(net(x.cuda()).argmax(1).cpu() == y).float() for x, y in loader("test")]).mean()
        if acc > best:
            best = acc
            torch.save(net.state_dict(), "birds.pt")
        print(ep, acc.item())
