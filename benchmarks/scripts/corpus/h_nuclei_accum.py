"""Kaggle nuclei: large tiles, tiny batches, accumulated gradients."""
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch.cuda.amp import GradScaler, autocast
from torch.utils.data import DataLoader

from nuclei import Tiles, augment

ITER_SIZE = 16
BS = 2


def iou(p, t, eps=1e-7):
    p, t = p > 0, t > 0.5
    return ((p & t).sum() + eps) / ((p | t).sum() + eps)


def main(fold=0, epochs=60):
    model = smp.FPN("se_resnext50_32x4d", encoder_weights="imagenet", classes=1).cuda()
    crit = smp.losses.DiceLoss("binary")
    opt = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=1e-2)  # expect: NA508:info
    scaler = GradScaler()
    train = DataLoader(Tiles(fold, "train", augment), batch_size=BS, shuffle=True, num_workers=6, drop_last=True)
    valid = DataLoader(Tiles(fold, "valid"), batch_size=1, num_workers=6)
    best = -1.
    for epoch in range(epochs):
        model.train()
        accumulated = 0
        for img, msk in train:
            with autocast():
                loss = crit(model(img.cuda()), msk.cuda())
            scaler.scale(loss / ITER_SIZE).backward()
            accumulated += 1
            if accumulated == ITER_SIZE:
                scaler.step(opt)  # expect: NA211:warning
                scaler.update()
                opt.zero_grad(set_to_none=True)
                accumulated = 0
        model.eval()
        vals = []
        with torch.no_grad(), autocast():
            for img, msk in valid:
                img = img.cuda()
                # flip TTA
                out = model(img) + model(img.flip(-1)).flip(-1)
                vals.append(float(iou(out.cpu(), msk)))
        score = float(np.mean(vals))
        print(f"fold {fold} epoch {epoch} iou {score:.4f}")
        if score > best:
            best = score
            torch.save(model.state_dict(), f"fpn_{fold}.pth")


if __name__ == "__main__":
    for f in range(4):
        main(f)
