import argparse
import builtins
import math
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torchvision.models as models


class MoCo(nn.Module):
    def __init__(self, base_encoder, dim=128, K=65536, m=0.999, T=0.07):
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q = base_encoder(num_classes=dim)
        self.encoder_k = base_encoder(num_classes=dim)
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data.copy_(param_q.data)
            param_k.requires_grad = False
        self.register_buffer("queue", nn.functional.normalize(torch.randn(dim, K), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _momentum_update_key_encoder(self):
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data = param_k.data * self.m + param_q.data * (1. - self.m)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys):
        n, ptr = keys.shape[0], int(self.queue_ptr)
        self.queue[:, ptr:ptr + n] = keys.T
        self.queue_ptr[0] = (ptr + n) % self.K

    @torch.no_grad()
    def _shuffle(self, x):
        idx = torch.randperm(x.shape[0], device=x.device)
        dist.broadcast(idx, src=0)
        return x[idx], torch.argsort(idx)

    def forward(self, im_q, im_k):
        q = nn.functional.normalize(self.encoder_q(im_q), dim=1)
        with torch.no_grad():
            self._momentum_update_key_encoder()
            im_k, undo = self._shuffle(im_k)
            k = self.encoder_k(im_k)
            k = nn.functional.normalize(k, dim=1)[undo]
        l_pos = torch.einsum('nc,nc->n', [q, k]).unsqueeze(-1)
        l_neg = torch.einsum('nc,ck->nk', [q, self.queue.clone().detach()])
        logits = torch.cat([l_pos, l_neg], dim=1) / self.T
        self._dequeue_and_enqueue(k)
        return logits, torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)


def main_worker(gpu, ngpus, args):
    if gpu != 0:
        builtins.print = lambda *a: None
    dist.init_process_group('nccl', init_method=args.dist_url, world_size=ngpus, rank=gpu)
    torch.cuda.set_device(gpu)
    model = MoCo(models.__dict__[args.arch])
    model.cuda(gpu)
    args.batch_size = int(args.batch_size / ngpus)
    model = nn.parallel.DistributedDataParallel(model, device_ids=[gpu])
    criterion = nn.CrossEntropyLoss().cuda(gpu)
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=1e-4)
    from pairs import build_loader
    train_loader, sampler = build_loader(args)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        for g in optimizer.param_groups:
            g['lr'] = args.lr * 0.5 * (1. + math.cos(math.pi * epoch / args.epochs))
        train(train_loader, model, criterion, optimizer, epoch, gpu)
        if gpu == 0:
            torch.save(model.state_dict(), 'checkpoint_{:04d}.pth.tar'.format(epoch))


def train(loader, model, criterion, optimizer, epoch, gpu):
    model.train()
    for i, (images, _) in enumerate(loader):
        q, k = images[0].cuda(gpu, non_blocking=True), images[1].cuda(gpu, non_blocking=True)
        output, target = model(im_q=q, im_k=k)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(epoch, i, loss.item())


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--arch', default='resnet50')
    p.add_argument('--epochs', type=int, default=200)
    p.add_argument('--batch-size', type=int, default=256)
    p.add_argument('--lr', type=float, default=.03)
    p.add_argument('--dist-url', default='tcp://localhost:10001')
    a = p.parse_args()
    n = torch.cuda.device_count()
    mp.spawn(main_worker, nprocs=n, args=(n, a))
