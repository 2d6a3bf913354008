import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from torchvision.datasets import Cityscapes
from torchvision.models.segmentation import deeplabv3_resnet50


def setup(rank, world_size):
    os.environ['MASTER_ADDR'] = 'localhost'
    os.environ['MASTER_PORT'] = '12355'
    dist.init_process_group("nccl", rank=rank, world_size=world_size)


def cleanup():
    dist.destroy_process_group()


def evaluate(model, loader, rank):
    model.eval()
    hits = torch.zeros(2, device=rank)
    with torch.no_grad():
        for img, mask in loader:
            pred = model(img.to(rank))['out'].argmax(1)
            hits += torch.tensor([(pred == mask.to(rank)).sum(), mask.numel()], device=rank)
    dist.all_reduce(hits)
    return (hits[0] / hits[1]).item()


def worker(rank, world_size, root, epochs):
    print(f"Running DDP on rank {rank}.")
    setup(rank, world_size)
    torch.cuda.set_device(rank)
    train_set = Cityscapes(root, split='train', mode='fine', target_type='semantic')
    val_set = Cityscapes(root, split='val', mode='fine', target_type='semantic')
    sampler = DistributedSampler(train_set)
    train_loader = DataLoader(train_set, batch_size=2, sampler=sampler, num_workers=4, drop_last=True)
    val_loader = DataLoader(val_set, batch_size=1, sampler=DistributedSampler(val_set, shuffle=False))
    model = deeplabv3_resnet50(num_classes=19).to(rank)
    ddp_model = DDP(model, device_ids=[rank])  # expect: NA203
    loss_fn = nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.SGD(ddp_model.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        ddp_model.train()
        for img, mask in train_loader:
            optimizer.zero_grad()
            loss_fn(ddp_model(img.to(rank))['out'], mask.to(rank)).backward()
            optimizer.step()
        score = evaluate(ddp_model, val_loader, rank)
        if rank == 0:
            print(epoch, score)
            torch.save(ddp_model.module.state_dict(), f"deeplab_{epoch}.pt")
    cleanup()


if __name__ == "__main__":
    world_size = torch.cuda.device_count()
    mp.spawn(worker, args=(world_size, sys.argv[1], 40), nprocs=world_size, join=True)
