"""Fine-tune an EfficientNet on high resolution retina images that only fit four at a time."""
import argparse

import timm
import torch
from accelerate import Accelerator
from sklearn.metrics import cohen_kappa_score
from torch import nn
from torch.utils.data import DataLoader

from retina import RetinaDataset

ACCUM = 8


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--csv", default="labels.csv")
    p.add_argument("--epochs", type=int, default=15)
    p.add_argument("--freeze-backbone", action="store_true")
    return p.parse_args()


def main():
    args = parse()
    accelerator = Accelerator(mixed_precision="fp16")
    train_dl = DataLoader(RetinaDataset(args.csv, "train"), batch_size=4, shuffle=True, num_workers=4)
    val_dl = DataLoader(RetinaDataset(args.csv, "val"), batch_size=8, num_workers=4)
    model = timm.create_model("tf_efficientnet_b5", pretrained=True, num_classes=5)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    model, optimizer, train_dl, val_dl = accelerator.prepare(model, optimizer, train_dl, val_dl)

    best = 0
    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train_dl):
            loss = criterion(model(x), y) / ACCUM
            accelerator.backward(loss)
            if (i + 1) % ACCUM == 0 or i + 1 == len(train_dl):
                optimizer.step()  # expect: NA211:warning
                optimizer.zero_grad()

        preds, golds = [], []
        for x, y in val_dl:
            with torch.no_grad():
                logits = model(x)  # expect: NA401
            p, g = accelerator.gather_for_metrics((logits.argmax(-1), y))
            preds.append(p.cpu())
            golds.append(g.cpu())
        kappa = cohen_kappa_score(torch.cat(golds), torch.cat(preds), weights="quadratic")
        accelerator.print(f"epoch {epoch}: kappa {kappa:.4f}")
        if kappa > best:
            best = kappa
            accelerator.save(accelerator.unwrap_model(model).state_dict(), "best.pt")


if __name__ == "__main__":
    main()
