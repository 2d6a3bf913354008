import os
import torch
import torch.distributed as dist
import torch.nn as nn
import torchvision
from torch.utils.data import DataLoader, DistributedSampler


def init():
    dist.init_process_group('nccl')
    rank = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(rank)
    return rank


class Net(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Conv2d(2048, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 2, 1))

    def forward(self, x):
        h = x.shape[-2:]
        return nn.functional.interpolate(self.head(self.backbone(x)), h, mode='bilinear')


rank = init()
trunk = nn.Sequential(*list(torchvision.models.resnet50(weights="DEFAULT").children())[:-2])
net = Net(trunk)
net = nn.SyncBatchNorm.convert_sync_batchnorm(net).cuda(rank)
net = nn.parallel.DistributedDataParallel(net, device_ids=[rank], find_unused_parameters=False)
opt = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0)

from roads import Roads

ds = Roads(os.environ['ROADS'])
sampler = DistributedSampler(ds, shuffle=True)
dl = DataLoader(ds, batch_size=4, sampler=sampler, num_workers=4, pin_memory=True)
val = DataLoader(Roads(os.environ['ROADS'], val=True), batch_size=4)
for epoch in range(50):
    sampler.set_epoch(epoch)
    net.train()
    for image, mask in dl:
        loss = nn.functional.cross_entropy(net(image.cuda(rank)), mask.cuda(rank))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
    if rank == 0:
        net.eval()
        with torch.no_grad():
            iou = [(net.module(i.cuda(rank)).argmax(1).cpu() == m).float().mean() for i, m in val]
        print(epoch, sum(iou) / len(iou))
        torch.save(net.module.state_dict(), 'roads.pt')
    dist.barrier()
