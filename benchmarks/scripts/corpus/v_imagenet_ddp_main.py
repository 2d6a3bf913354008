import argparse
import os
import shutil
import time

import torch
import torch.backends.cudnn as cudnn
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.optim
import torch.utils.data
import torchvision.datasets as datasets
import torchvision.models as models
import torchvision.transforms as transforms

model_names = sorted(name for name in models.__dict__ if name.islower() and callable(models.__dict__[name]))

parser = argparse.ArgumentParser(description="ImageNet training")
parser.add_argument("data", metavar="DIR")
parser.add_argument("-a", "--arch", default="resnet50", choices=model_names)
parser.add_argument("--epochs", default=90, type=int)
parser.add_argument("-b", "--batch-size", default=256, type=int)
parser.add_argument("--lr", default=0.1, type=float)
parser.add_argument("--wd", default=1e-4, type=float, dest="weight_decay")
parser.add_argument("--resume", default="", type=str)
parser.add_argument("-e", "--evaluate", action="store_true")
parser.add_argument("--pretrained", action="store_true")
parser.add_argument("--dist-url", default="tcp://127.0.0.1:23456")
parser.add_argument("--multiprocessing-distributed", action="store_true")
best_acc1 = 0


def main():
    args = parser.parse_args()
    ngpus = torch.cuda.device_count()
    args.world_size = ngpus if args.multiprocessing_distributed else 1
    if args.multiprocessing_distributed:
        mp.spawn(main_worker, nprocs=ngpus, args=(ngpus, args))
    else:
        main_worker(0, ngpus, args)


def main_worker(gpu, ngpus, args):
    global best_acc1
    if args.multiprocessing_distributed:
        dist.init_process_group("nccl", init_method=args.dist_url, world_size=args.world_size, rank=gpu)
    if args.pretrained:
        print("=> using pre-trained model '{}'".format(args.arch))
        model = models.__dict__[args.arch](pretrained=True)
    else:
        model = models.__dict__[args.arch]()

    if args.multiprocessing_distributed:
        torch.cuda.set_device(gpu)
        model.cuda(gpu)
        args.batch_size = int(args.batch_size / ngpus)
        model = nn.parallel.DistributedDataParallel(model, device_ids=[gpu])
    elif args.arch.startswith("alexnet") or args.arch.startswith("vgg"):
        model.features = nn.DataParallel(model.features)
        model.cuda()
    else:
        model = nn.DataParallel(model).cuda()

    criterion = nn.CrossEntropyLoss().cuda(gpu)
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=args.weight_decay)  # allow: NA508

    start = 0
    if args.resume and os.path.isfile(args.resume):
        checkpoint = torch.load(args.resume, map_location="cpu")
        start = checkpoint["epoch"]
        model.load_state_dict(checkpoint["state_dict"])
        optimizer.load_state_dict(checkpoint["optimizer"])

    cudnn.benchmark = True
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    train_set = datasets.ImageFolder(
        os.path.join(args.data, "train"),
        transforms.Compose([transforms.RandomResizedCrop(224), transforms.ToTensor(), normalize]))
    val_set = datasets.ImageFolder(
        os.path.join(args.data, "val"),
        transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]))
    sampler = torch.utils.data.distributed.DistributedSampler(train_set) if args.multiprocessing_distributed else None
    train_loader = torch.utils.data.DataLoader(train_set, batch_size=args.batch_size, shuffle=(sampler is None), sampler=sampler)
    val_loader = torch.utils.data.DataLoader(val_set, batch_size=args.batch_size)

    if args.evaluate:
        validate(val_loader, model, criterion)
        return

    for epoch in range(start, args.epochs):
        if sampler is not None:
            sampler.set_epoch(epoch)
        train(train_loader, model, criterion, optimizer, epoch)
        acc1 = validate(val_loader, model, criterion)
        is_best = acc1 > best_acc1
        best_acc1 = max(acc1, best_acc1)
        torch.save({"epoch": epoch + 1, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pth.tar")
        if is_best:
            shutil.copyfile("checkpoint.pth.tar", "model_best.pth.tar")


def train(loader, model, criterion, optimizer, epoch):
    model.train()
    end = time.time()
    for i, (images, target) in enumerate(loader):
        images, target = images.cuda(non_blocking=True), target.cuda(non_blocking=True)
        output = model(images)
        loss = criterion(output, target)
        acc1, acc5 = accuracy(output, target, topk=(1, 5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(epoch, i, loss.item(), acc1.item(), time.time() - end)
        end = time.time()


def validate(loader, model, criterion):
    def run_validate(loader):
        total, n = 0.0, 0
        with torch.no_grad():
            for images, target in loader:
                images, target = images.cuda(), target.cuda()
                output = model(images)
                criterion(output, target)
                acc1, _ = accuracy(output, target, topk=(1, 5))
                total += acc1.item() * len(images)
                n += len(images)
        return total / n

    model.eval()
    return run_validate(loader)


def accuracy(output, target, topk=(1,)):
    with torch.no_grad():
        maxk = max(topk)
        _, pred = output.topk(maxk, 1, True, True)
        correct = pred.t().eq(target.view(1, -1).expand_as(pred.t()))
        return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / target.size(0)) for k in topk]


if __name__ == "__main__":
    main()
