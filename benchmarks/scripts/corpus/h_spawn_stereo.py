import argparse
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

from sceneflow import get_loader


class Matcher(nn.Module):
    def __init__(self, maxdisp=64):
        super().__init__()
        self.maxdisp = maxdisp
        self.feat = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1))
        self.agg = nn.Sequential(nn.Conv3d(64, 32, 3, padding=1), nn.BatchNorm3d(32), nn.ReLU(), nn.Conv3d(32, 1, 3, padding=1))

    def forward(self, left, right):
        a, b = self.feat(left), self.feat(right)
        vol = torch.stack([torch.cat([a, torch.roll(b, d, -1)], 1) for d in range(self.maxdisp // 4)], 2)
        p = self.agg(vol).squeeze(1).softmax(1)
        d = torch.arange(self.maxdisp // 4, device=p.device, dtype=p.dtype).view(1, -1, 1, 1) * 4
        return F.interpolate((p * d).sum(1, keepdim=True), scale_factor=4).squeeze(1)


class Solver:
    def __init__(self, rank, world, opts):
        self.rank, self.opts = rank, opts
        dist.init_process_group('nccl', f'tcp://127.0.0.1:{opts.port}', rank=rank, world_size=world)
        torch.cuda.set_device(rank)
        net = nn.SyncBatchNorm.convert_sync_batchnorm(Matcher().cuda(rank))
        self.net = nn.parallel.DistributedDataParallel(net, device_ids=[rank])
        self.optim = torch.optim.Adam(self.net.parameters(), lr=opts.lr)
        self.train_loader = get_loader('train', batch_size=2, rank=rank, world=world)
        self.test_loader = get_loader('test', batch_size=1, rank=rank, world=world)

    def train_epoch(self):
        self.net.train()
        for left, right, disp in self.train_loader:
            pred = self.net(left.cuda(), right.cuda())
            mask = (disp > 0).cuda()
            loss = F.smooth_l1_loss(pred[mask], disp.cuda()[mask])
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()

    def epe(self):
        self.net.module.eval()
        tot = torch.zeros(2).cuda()
        with torch.no_grad():
            for left, right, disp in self.test_loader:
                err = (self.net.module(left.cuda(), right.cuda()).cpu() - disp).abs()[disp > 0]
                tot += torch.tensor([err.sum(), err.numel()]).cuda()
        dist.all_reduce(tot)
        return (tot[0] / tot[1]).item()

    def run(self):
        for epoch in range(self.opts.epochs):
            self.train_epoch()
            e = self.epe()
            if self.rank == 0:
                print(epoch, 'EPE', e)
                torch.save(self.net.module.state_dict(), os.path.join(self.opts.out, f'{epoch}.pt'))


def entry(rank, world, opts):
    Solver(rank, world, opts).run()


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--epochs', type=int, default=16)
    p.add_argument('--lr', type=float, default=1e-3)
    p.add_argument('--port', type=int, default=29501)
    p.add_argument('--out', default='.')
    opts = p.parse_args()
    n = torch.cuda.device_count()
    mp.spawn(entry, nprocs=n, args=(n, opts))
