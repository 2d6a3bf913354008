import argparse
import os

import torch
import torch.distributed as dist
import torchvision
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument('--batch-size', type=int, default=64)
    p.add_argument('--epochs', type=int, default=90)
    p.add_argument('--sync-bn', action='store_true')
    return p.parse_args()


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item() * 100


def main():
    args = get_args()
    local_rank = int(os.environ['LOCAL_RANK'])
    torch.cuda.set_device(local_rank)
    dist.init_process_group(backend='nccl')
    net = torchvision.models.resnext50_32x4d()
    net.cuda()
    net = DistributedDataParallel(net, device_ids=[local_rank])  # expect: NA203
    if args.sync_bn:
        net = SyncBatchNorm.convert_sync_batchnorm(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True)
    criterion = torch.nn.CrossEntropyLoss().cuda()
    from imagenet import make_loader
    train_loader = make_loader('train', args.batch_size)
    val_loader = make_loader('val', args.batch_size)
    for epoch in range(args.epochs):
        train_loader.sampler.set_epoch(epoch)
        net.train()
        for x, y in train_loader:
            x, y = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
            loss = criterion(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        accs = []
        with torch.no_grad():
            for x, y in val_loader:
                accs.append(accuracy(net(x.cuda()), y.cuda()))
        if dist.get_rank() == 0:
            print(epoch, sum(accs) / len(accs))


if __name__ == '__main__':
    main()
