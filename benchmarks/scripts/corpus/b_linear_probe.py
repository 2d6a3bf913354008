"""Linear evaluation of a self-supervised ResNet-50."""
import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms


def load_backbone(path):
    encoder = models.resnet50()
    encoder.fc = nn.Identity()
    state = torch.load(path, map_location="cpu")["state_dict"]
    state = {k.replace("module.encoder_q.", ""): v for k, v in state.items() if k.startswith("module.encoder_q.")}
    msg = encoder.load_state_dict(state, strict=False)
    assert not msg.unexpected_keys
    for p in encoder.parameters():
        p.requires_grad = False
    return encoder.cuda()


def topk(logits, y, k=(1, 5)):
    pred = logits.topk(max(k), 1)[1].t()
    hit = pred.eq(y[None])
    return [hit[:n].any(0).float().sum().item() for n in k]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("data")
    ap.add_argument("--ckpt", required=True)
    ap.add_argument("--epochs", type=int, default=100)
    args = ap.parse_args()
    tf = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    train_dl = DataLoader(datasets.ImageFolder(args.data + "/train", tf), 256, shuffle=True, num_workers=16)
    val_dl = DataLoader(datasets.ImageFolder(args.data + "/val", tf), 256, num_workers=16)

    encoder = load_backbone(args.ckpt)
    head = nn.Linear(2048, 1000).cuda()
    optimizer = torch.optim.SGD(head.parameters(), lr=30.0, momentum=0.9)
    sched = torch.optim.lr_scheduler.MultiStepLR(optimizer, [60, 80], 0.1)
    ce = nn.CrossEntropyLoss()

    for epoch in range(args.epochs):
        head.train()
        for x, y in train_dl:
            x, y = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
            with torch.no_grad():
                h = encoder(x)  # expect: NA404
            loss = ce(head(h), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        sched.step()

        encoder.eval()
        head.eval()
        hits = [0, 0]
        with torch.no_grad():
            for x, y in val_dl:
                logits = head(encoder(x.cuda()))
                hits = [a + b for a, b in zip(hits, topk(logits.cpu(), y))]
        encoder.train()
        n = len(val_dl.dataset)
        print(f"epoch {epoch}: top1 {100 * hits[0] / n:.2f} top5 {100 * hits[1] / n:.2f}")


if __name__ == "__main__":
    main()
