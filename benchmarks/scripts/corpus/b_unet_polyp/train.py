import os

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from tensorboardX import SummaryWriter

from dataset import LiverPatches
from losses import dice_loss
from net import VNetSmall

BATCH = 8
EPOCHS = 300


def validate(net, loader, writer, step):
    net.eval()  # expect: NA402
    dices = []
    with torch.no_grad():
        for volume, mask in loader:
            logits = net(volume.cuda())
            dices.append(1 - dice_loss(logits, mask.cuda()).item())
    mean = sum(dices) / len(dices)
    writer.add_scalar("val/dice", mean, step)
    return mean


def main():
    net = VNetSmall().cuda()
    net.train()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, EPOCHS)
    train_loader = DataLoader(LiverPatches("train"), BATCH, shuffle=True, num_workers=8, pin_memory=True)
    val_loader = DataLoader(LiverPatches("val"), 1)
    writer = SummaryWriter()
    best, step = 0.0, 0
    os.makedirs("ckpt", exist_ok=True)
    for epoch in range(EPOCHS):
        for volume, mask in train_loader:
            volume, mask = volume.cuda(), mask.cuda()
            logits = net(volume)
            loss = 0.5 * F.cross_entropy(logits, mask) + 0.5 * dice_loss(logits, mask)
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            writer.add_scalar("train/loss", loss.item(), step)
        sched.step()
        dice = validate(net, val_loader, writer, epoch)
        if dice > best:
            best = dice
            torch.save(net.state_dict(), "ckpt/best.pth")


if __name__ == "__main__":
    main()
