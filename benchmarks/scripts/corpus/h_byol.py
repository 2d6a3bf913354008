import copy
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from lightly.data import LightlyDataset
from lightly.transforms import BYOLTransform


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h, bias=False), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self, backbone, dim=512):
        super().__init__()
        self.online = nn.Sequential(backbone, nn.Flatten(), mlp(dim, 1024, 256))
        self.predictor = mlp(256, 1024, 256)
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def momentum_update(self, m=0.996):
        for o, t in zip(self.online.parameters(), self.target.parameters()):
            t.mul_(m).add_(o, alpha=1 - m)

    def forward(self, a, b):
        pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)  # allow: NA404
        return 2 - F.cosine_similarity(pa, tb).mean() - F.cosine_similarity(pb, ta).mean()


def knn_eval(encoder, bank, queries, k=20):
    mode = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            fb = torch.cat([F.normalize(encoder(x.cuda()).flatten(1)).cpu() for x, _ in bank])
            yb = torch.cat([y for _, y in bank])
            good = n = 0
            for x, y in queries:
                s = F.normalize(encoder(x.cuda()).flatten(1)).cpu() @ fb.T
                good += (yb[s.topk(k).indices].mode(1).values == y).sum().item()
                n += len(y)
    finally:
        encoder.train(mode)
    return good / n


if __name__ == "__main__":
    resnet = torchvision.models.resnet18()
    model = BYOL(nn.Sequential(*list(resnet.children())[:-1])).cuda()
    cifar = torchvision.datasets.CIFAR10("data", download=True)
    loader = torch.utils.data.DataLoader(LightlyDataset.from_torch_dataset(cifar, transform=BYOLTransform()), 256, shuffle=True, drop_last=True)
    plain = torchvision.datasets.CIFAR10("data", transform=torchvision.transforms.ToTensor())
    bank, queries = [torch.utils.data.DataLoader(torch.utils.data.Subset(plain, r), 512) for r in (range(0, 10000), range(10000, 12000))]
    opt = torch.optim.SGD([*model.online.parameters(), *model.predictor.parameters()], lr=0.06, momentum=0.9)
    model.train()
    for epoch in range(100):
        total = 0
        for (x0, x1), *_ in loader:
            model.momentum_update()
            loss = model(x0.cuda(), x1.cuda())
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(epoch, total / len(loader), knn_eval(model.online[0], bank, queries))
