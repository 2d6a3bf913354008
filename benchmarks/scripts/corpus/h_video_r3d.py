"""Action recognition on UCF101 clips.

Usage: python h_video_r3d.py train /data/ucf101 | test /data/ucf101 --ckpt best.pt
"""
import sys
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision.models.video import r3d_18

from ucf import ClipDataset

CLASSES = 101


def make_net():
    net = r3d_18(pretrained=True)
    net.fc = nn.Linear(net.fc.in_features, CLASSES)
    return net.cuda()


def do_train(root):
    net = make_net()
    opt = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9)
    loader = DataLoader(ClipDataset(root, "train"), 16, shuffle=True, num_workers=8)
    val = DataLoader(ClipDataset(root, "val"), 16, num_workers=8)
    best = 0.
    for ep in range(30):
        net.train()
        for clip, y in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(net(clip.cuda()), y.cuda()).backward()
            opt.step()
        net.eval()
        good = 0
        with torch.no_grad():
            for clip, y in val:
                good += (net(clip.cuda()).argmax(1).cpu() == y).sum().item()
        acc = good / len(val.dataset)
        print(ep, acc)
        if acc > best:
            best = acc
            torch.save(net.state_dict(), "best.pt")


def do_test(root, ckpt):
    """video level accuracy: average the scores of ten clips"""
    net = make_net()
    net.load_state_dict(torch.load(ckpt))
    scores, truth = defaultdict(lambda: torch.zeros(CLASSES)), {}
    torch.set_grad_enabled(False)
    for clip, y, vid in DataLoader(ClipDataset(root, "test", clips_per_video=10), 10):
        out = net(clip.cuda()).softmax(-1).cpu()  # expect: NA401
        for o, t, v in zip(out, y, vid):
            scores[v] += o
            truth[v] = int(t)
    hits = sum(int(s.argmax()) == truth[v] for v, s in scores.items())
    print("video acc", hits / len(truth))


if __name__ == "__main__":
    cmd, root = sys.argv[1], Path(sys.argv[2])
    if cmd == "train":
        do_train(root)
    else:
        do_test(root, sys.argv[sys.argv.index("--ckpt") + 1])
