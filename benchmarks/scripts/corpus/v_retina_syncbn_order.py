import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torchvision
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from data.fundus import FundusSegmentation
from losses import FocalDice


def setup():
    dist.init_process_group(backend="nccl")
    local_rank = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(local_rank)
    return local_rank


def build(num_classes, local_rank):
    net = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, num_classes=num_classes)
    net = net.cuda(local_rank)
    net = DDP(net, device_ids=[local_rank])  # expect: NA203
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    return net


def validate(net, loader):
    net.eval()
    inter = torch.zeros(1).cuda()
    union = torch.zeros(1).cuda()
    with torch.no_grad():
        for img, mask in loader:
            pred = net(img.cuda())["out"].argmax(1)
            mask = mask.cuda()
            inter += ((pred == 1) & (mask == 1)).sum()
            union += ((pred == 1) | (mask == 1)).sum()
    dist.all_reduce(inter)
    dist.all_reduce(union)
    return (inter / union).item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="/data/fundus")
    ap.add_argument("--epochs", type=int, default=80)
    args = ap.parse_args()
    local_rank = setup()
    train_set = FundusSegmentation(args.data, "train")
    sampler = DistributedSampler(train_set)
    train_loader = DataLoader(train_set, batch_size=16, sampler=sampler, num_workers=4, drop_last=True)
    val_loader = DataLoader(FundusSegmentation(args.data, "val"), batch_size=16)
    net = build(2, local_rank)
    criterion = FocalDice()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    sched = torch.optim.lr_scheduler.PolynomialLR(optimizer, args.epochs, power=0.9)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        net.train()
        for img, mask in train_loader:
            out = net(img.cuda(non_blocking=True))["out"]
            loss = criterion(out, mask.cuda(non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        sched.step()
        iou = validate(net, val_loader)
        if local_rank == 0:
            print(f"{epoch}: iou={iou:.4f}")
            torch.save(net.module.state_dict(), "deeplab.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
