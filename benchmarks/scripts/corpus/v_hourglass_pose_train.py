import argparse
import os

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

from pose.datasets import Mpii
from pose.models import hg
from pose.utils.evaluation import AverageMeter, accuracy, final_preds


def train(loader, model, criterion, optimizer, device):
    losses, acces = AverageMeter(), AverageMeter()
    for i, (inp, target, meta) in enumerate(loader):
        inp, target = inp.to(device), target.to(device)
        output = model(inp)
        loss = sum(criterion(o, target) for o in output)
        acc = accuracy(output[-1], target)
        losses.update(loss.item(), inp.size(0))
        acces.update(acc[0], inp.size(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses.avg, acces.avg


def validate(loader, model, device):
    acces = AverageMeter()
    predictions = torch.zeros(len(loader.dataset), 16, 2)
    model.eval()  # expect: NA402
    with torch.no_grad():
        for inp, target, meta in loader:
            output = model(inp.to(device))[-1].cpu()
            acces.update(accuracy(output, target)[0], inp.size(0))
            preds = final_preds(output, meta["center"], meta["scale"], [64, 64])
            for n in range(preds.size(0)):
                predictions[meta["index"][n]] = preds[n]
    return acces.avg, predictions


def main(args):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = hg(num_stacks=args.stacks, num_blocks=1, num_classes=16)
    model = nn.DataParallel(model).to(device)
    criterion = nn.MSELoss().to(device)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=args.lr)
    train_loader = DataLoader(Mpii("data/mpii", train=True), batch_size=6, shuffle=True, num_workers=4)
    val_loader = DataLoader(Mpii("data/mpii", train=False), batch_size=6, num_workers=4)
    if args.evaluate:
        model.load_state_dict(torch.load(os.path.join(args.checkpoint, "model_best.pth.tar"))["state_dict"])
        acc, _ = validate(val_loader, model, device)
        print("val", acc)
        return
    best = 0
    model.train()
    for epoch in range(args.epochs):
        loss, acc = train(train_loader, model, criterion, optimizer, device)
        val_acc, preds = validate(val_loader, model, device)
        print(epoch, loss, acc, val_acc)
        if val_acc > best:
            best = val_acc
            torch.save({"state_dict": model.state_dict(), "preds": preds}, os.path.join(args.checkpoint, "model_best.pth.tar"))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--stacks", type=int, default=8)
    p.add_argument("--lr", type=float, default=2.5e-4)
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--checkpoint", default="checkpoint")
    p.add_argument("-e", "--evaluate", action="store_true")
    main(p.parse_args())
