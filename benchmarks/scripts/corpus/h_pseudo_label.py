"""Noisy student in one file: a trained teacher labels the extra images on the fly."""
import argparse
import os.path as osp

import timm
import torch
import torch.nn.functional as F
from timm.data import create_transform
from torchvision.datasets import ImageFolder

ap = argparse.ArgumentParser()
ap.add_argument("root")
ap.add_argument("--teacher-ckpt", required=True)
ap.add_argument("--tau", type=float, default=.8)
ap.add_argument("--epochs", type=int, default=50)
cfg = ap.parse_args()

dev = torch.device("cuda:0")


def get(split, train):
    tf = create_transform(224, is_training=train)
    return torch.utils.data.DataLoader(ImageFolder(osp.join(cfg.root, split), tf), batch_size=96, shuffle=train, drop_last=train, num_workers=8)


labelled, extra, val = get("train", True), get("extra", True), get("val", False)
n_cls = len(labelled.dataset.classes)

teacher = timm.create_model("efficientnet_b0", num_classes=n_cls)
teacher.load_state_dict(torch.load(cfg.teacher_ckpt, map_location="cpu"))
teacher.to(dev).requires_grad_(False)

student = timm.create_model("efficientnet_b2", num_classes=n_cls, drop_rate=.3, drop_path_rate=.2).to(dev)
optim = torch.optim.Adam(student.parameters(), lr=1e-3)


@torch.no_grad()
def pseudo(x):
    p = teacher(x).softmax(-1)  # expect: NA404
    conf, lab = p.max(-1)
    return lab, conf >= cfg.tau


@torch.no_grad()
def score():
    student.eval()
    hits = 0
    for x, y in val:
        hits += (student(x.to(dev)).argmax(-1).cpu() == y).sum().item()
    student.train()
    return hits / len(val.dataset)


for epoch in range(cfg.epochs):
    for (xl, yl), (xu, _) in zip(labelled, extra):
        xl, yl, xu = xl.to(dev), yl.to(dev), xu.to(dev)
        yu, ok = pseudo(xu)
        logits = student(torch.cat([xl, xu]))
        sup = F.cross_entropy(logits[:len(xl)], yl)
        uns = (F.cross_entropy(logits[len(xl):], yu, reduction="none") * ok).mean()
        optim.zero_grad()
        (sup + uns).backward()
        optim.step()
    print(f"{epoch:3d} val {score():.4f}")
    torch.save(student.state_dict(), "student.pt")
