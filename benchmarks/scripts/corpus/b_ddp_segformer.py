"""torchrun --nproc_per_node=8 b_ddp_segformer.py --data /data/cityscapes"""
import argparse
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from torchvision.datasets import Cityscapes
from torchvision.models.segmentation import deeplabv3_resnet101

from transforms import JointTransform


def setup():
    dist.init_process_group("nccl")
    local_rank = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(local_rank)
    return local_rank


def evaluate(model, loader, device, num_classes=19):
    model.eval()
    hist = torch.zeros(num_classes, num_classes, device=device)
    with torch.no_grad():
        for image, target in loader:
            pred = model(image.to(device))["out"].argmax(1).flatten()
            target = target.to(device).flatten()
            ok = target < num_classes
            hist += torch.bincount(num_classes * target[ok] + pred[ok], minlength=num_classes ** 2).view(num_classes, num_classes)
    dist.all_reduce(hist)
    iou = hist.diag() / (hist.sum(0) + hist.sum(1) - hist.diag()).clamp(min=1)
    return iou.mean().item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=True)
    p.add_argument("--epochs", type=int, default=80)
    args = p.parse_args()
    rank = setup()
    device = torch.device("cuda", rank)

    train_set = Cityscapes(args.data, "train", "fine", "semantic", transforms=JointTransform(768, True))
    val_set = Cityscapes(args.data, "val", "fine", "semantic", transforms=JointTransform(1024, False))
    sampler = DistributedSampler(train_set, drop_last=True)
    train_loader = DataLoader(train_set, batch_size=2, sampler=sampler, num_workers=4, drop_last=True)
    val_loader = DataLoader(val_set, batch_size=1, sampler=DistributedSampler(val_set, shuffle=False))

    model = deeplabv3_resnet101(num_classes=19, weights_backbone="DEFAULT").to(device)
    model = DDP(model, device_ids=[rank])  # expect: NA203
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)  # expect: NA508:info
    iters = args.epochs * len(train_loader)
    sched = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (1 - i / iters) ** 0.9)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        model.train()
        for image, target in train_loader:
            image, target = image.to(device), target.to(device)
            loss = F.cross_entropy(model(image)["out"], target, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sched.step()
        miou = evaluate(model, val_loader, device)
        if rank == 0:
            print(f"epoch {epoch} mIoU {miou:.4f}")
            torch.save(model.module.state_dict(), "last.pth")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
