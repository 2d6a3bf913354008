# Tiny keyword spotting network for a microcontroller.
# 1) train  2) measure  3) export
import os, copy
import torch, torchaudio
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

LABELS = "yes no up down left right on off stop go".split()


class SC(torchaudio.datasets.SPEECHCOMMANDS):
    def __init__(self, subset):
        super().__init__("./", download=True, subset=subset)
        self._walker = [w for w in self._walker if os.path.basename(os.path.dirname(w)) in LABELS]


mfcc = torchaudio.transforms.MFCC(16000, n_mfcc=40)


def collate(batch):
    xs, ys = [], []
    for wav, _, label, *_ in batch:
        wav = F.pad(wav, (0, 16000 - wav.shape[1]))
        xs.append(mfcc(wav)); ys.append(LABELS.index(label))
    return torch.stack(xs), torch.tensor(ys)


def ds_conv(cin, cout, s=1):
    return nn.Sequential(
        nn.Conv2d(cin, cin, 3, s, 1, groups=cin, bias=False), nn.BatchNorm2d(cin), nn.ReLU(),
        nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


def DSCNN(ch=64, n=len(LABELS)):
    return nn.Sequential(
        nn.Conv2d(1, ch, (10, 4), 2, bias=False), nn.BatchNorm2d(ch), nn.ReLU(),
        *[ds_conv(ch, ch) for _ in range(4)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(ch, n))


def accuracy(net, dl):
    ok = tot = 0
    for x, y in dl:
        ok += (net(x).argmax(1) == y).sum().item(); tot += len(y)
    return ok / tot


def main():
    tr, va, te = [DataLoader(SC(s), 100, shuffle=s == "training", collate_fn=collate) for s in ("training", "validation", "testing")]
    net, best, best_acc = DSCNN(), None, 0
    opt = torch.optim.Adam(net.parameters(), 5e-4)
    for ep in range(40):
        net.train()
        for x, y in tr:
            opt.zero_grad(); loss = F.cross_entropy(net(x), y); loss.backward(); opt.step()
        net.eval()
        with torch.no_grad():
            acc = accuracy(net, va)
        if acc > best_acc:
            best_acc, best = acc, copy.deepcopy(net)
        print(ep, acc)
    with torch.no_grad():
        print("test", accuracy(best, te))
    # weights only live in the best checkpoint from here on
    fresh = DSCNN()
    fresh.load_state_dict(best.state_dict())
    ep = torch.export.export(fresh, (torch.randn(1, 1, 40, 81),))  # expect: NA403
    torch.export.save(ep, "kws.pt2")


main()
