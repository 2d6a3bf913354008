import os
import random

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from cyclone import CycloneFrames

WORLD = 4


class Tracker(nn.Module):
    """ConvNet that regresses centre and intensity of a storm."""

    def __init__(self, w=48):
        super().__init__()
        stages, c = [], 4
        for k in range(4):
            stages += [nn.Conv2d(c, w << k, 3, 2, 1, bias=False), nn.BatchNorm2d(w << k), nn.SiLU()]
            c = w << k
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(c, 3)

    def forward(self, x):
        return self.head(self.stages(x).mean((2, 3)))


def worker(rank, cfg):
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(cfg["port"]))
    dist.init_process_group("nccl", rank=rank, world_size=WORLD)
    torch.cuda.set_device(rank)
    net = Tracker().cuda()
    net = DistributedDataParallel(net, device_ids=[rank])  # expect: NA203
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    opt = torch.optim.Adam(net.parameters(), lr=cfg["lr"])
    ds = {s: CycloneFrames(cfg["root"], s) for s in ("train", "val")}
    sampler = DistributedSampler(ds["train"])
    train = DataLoader(ds["train"], batch_size=cfg["bs"], sampler=sampler, drop_last=True)
    val = DataLoader(ds["val"], batch_size=cfg["bs"])
    for epoch in range(cfg["epochs"]):
        sampler.set_epoch(epoch)
        net.train()
        for x, y in train:
            loss = nn.functional.huber_loss(net(x.cuda()), y.cuda())
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
        if rank == 0:
            net.eval()
            with torch.no_grad():
                mae = torch.cat([(net.module(x.cuda()).cpu() - y).abs() for x, y in val]).mean(0)
            print(epoch, mae.tolist())
            torch.save(net.module.state_dict(), "tracker.pt")
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    config = dict(root="/data/cyclone", bs=64, lr=1e-3, epochs=60, port=random.randint(20000, 30000))
    mp.spawn(worker, args=(config,), nprocs=WORLD, join=True)
