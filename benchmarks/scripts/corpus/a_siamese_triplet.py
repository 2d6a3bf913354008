import random
import torch
import torch.nn as nn
import torch.nn.functional as F
from functools import partial
from torch.utils.data import DataLoader, Dataset


class Embedder(nn.Module):
    def __init__(self, dim=128):
        super(Embedder, self).__init__()
        conv = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
        chans = [1, 32, 64, 128]
        layers = []
        for i, o in zip(chans, chans[1:]):
            layers += [conv(i, o), nn.BatchNorm2d(o), nn.PReLU(), nn.MaxPool2d(2)]
        self.conv = nn.Sequential(*layers)
        self.fc = nn.Linear(128, dim)

    def forward_once(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3)))

    def forward(self, *xs):
        return tuple(self.forward_once(x) for x in xs)


class Triplets(Dataset):
    def __init__(self, by_class):
        self.by_class = by_class
        self.keys = list(by_class)

    def __len__(self):
        return 20000

    def __getitem__(self, _):
        pos, neg = random.sample(self.keys, 2)
        a, p = random.sample(self.by_class[pos], 2)
        return a, p, random.choice(self.by_class[neg])


def one_shot_accuracy(net, trials):
    right = 0
    for query, support, answer in trials:
        with torch.no_grad():
            q = net.forward_once(query[None].cuda())  # expect: NA401
            s = torch.cat([net.forward_once(c[None].cuda()) for c in support])
        right += int(torch.cdist(q, s).argmin().item() == answer)
    return right / len(trials)


def main():
    from omniglot import background, trials
    net = Embedder().cuda()
    opt = torch.optim.Adam(net.parameters(), lr=6e-4)
    criterion = nn.TripletMarginLoss(margin=1.)
    loader = DataLoader(Triplets(background()), batch_size=128, num_workers=4)
    for epoch in range(50):
        losses = []
        for a, p, n in loader:
            out = net(a.cuda(), p.cuda(), n.cuda())
            loss = criterion(*out)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(epoch, sum(losses) / len(losses), one_shot_accuracy(net, trials('evaluation')))


if __name__ == '__main__':
    main()
