import os
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torchvision.models import convnext_tiny, resnet50


def is_main():
    return not dist.is_initialized() or dist.get_rank() == 0


def reduce_mean(t):
    if dist.is_initialized():
        dist.all_reduce(t)
        t /= dist.get_world_size()
    return t


def main(arch='resnet50', batch_size=128, epochs=90):
    local = int(os.environ.get('LOCAL_RANK', 0))
    if 'WORLD_SIZE' in os.environ:
        dist.init_process_group('nccl')
    torch.cuda.set_device(local)
    from imagenet import train_loader, val_loader
    net = (resnet50 if arch == 'resnet50' else convnext_tiny)().cuda()
    if dist.is_initialized():
        net = DDP(net, device_ids=[local])
    raw = net.module if hasattr(net, 'module') else net
    optimizer = torch.optim.SGD(net.parameters(), .1, momentum=.9, weight_decay=1e-4)  # expect: NA508:info
    scaler = torch.amp.GradScaler()
    for epoch in range(epochs):
        net.train()
        for x, y in train_loader(batch_size, epoch):
            optimizer.zero_grad()
            with torch.autocast('cuda'):
                loss = nn.functional.cross_entropy(net(x.cuda()), y.cuda())
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        net.eval()
        acc = []
        with torch.no_grad():
            for x, y in val_loader(batch_size):
                acc.append((net(x.cuda()).argmax(1) == y.cuda()).float().mean())
        acc = reduce_mean(torch.stack(acc).mean())
        if is_main():
            print(epoch, acc.item())
            torch.save(raw.state_dict(), 'last.pt')
        net.train()
    if is_main():
        example = torch.randn(1, 3, 224, 224).cuda()
        ep = torch.export.export(raw, (example,))  # expect: NA403
        torch.export.save(ep, 'model.pt2')


if __name__ == '__main__':
    main()
