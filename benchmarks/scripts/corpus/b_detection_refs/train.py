import argparse
import os

import torch
import torch.utils.data
import torchvision
import utils
from coco_utils import get_coco
from engine import evaluate, train_one_epoch
from presets import get_transform


def main(args):
    utils.init_distributed_mode(args)
    device = torch.device(args.device)
    dataset, num_classes = get_coco(args.data_path, "train", get_transform(True))
    dataset_test, _ = get_coco(args.data_path, "val", get_transform(False))
    data_loader = torch.utils.data.DataLoader(
        dataset, batch_size=args.batch_size, shuffle=True, collate_fn=utils.collate_fn)
    data_loader_test = torch.utils.data.DataLoader(dataset_test, batch_size=1, collate_fn=utils.collate_fn)
    model = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=args.weights, num_classes=num_classes)
    model.to(device)
    if args.distributed and args.sync_bn:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model_without_ddp = model
    if args.distributed:
        model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[args.gpu])
        model_without_ddp = model.module

    param_groups = torchvision.ops._utils.split_normalization_params(model)
    wd_groups = [0.0, args.weight_decay]
    parameters = [{"params": p, "weight_decay": w} for p, w in zip(param_groups, wd_groups) if p]
    optimizer = torch.optim.SGD(parameters, lr=args.lr, momentum=0.9, nesterov=True)
    scaler = torch.cuda.amp.GradScaler() if args.amp else None
    lr_scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[16, 22], gamma=0.1)

    if args.resume:
        checkpoint = torch.load(args.resume, map_location="cpu")
        model_without_ddp.load_state_dict(checkpoint["model"])

    if args.test_only:
        evaluate(model, data_loader_test, device=device)
        return

    for epoch in range(args.epochs):
        train_one_epoch(model, optimizer, data_loader, device, epoch, 20, scaler)
        lr_scheduler.step()
        utils.save_on_master({"model": model_without_ddp.state_dict()}, os.path.join(args.output_dir, "checkpoint.pth"))
        # evaluate after every epoch
        evaluate(model, data_loader_test, device=device)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--data-path", default="/datasets/coco")
    p.add_argument("--device", default="cuda")
    p.add_argument("-b", "--batch-size", default=2, type=int)
    p.add_argument("--epochs", default=26, type=int)
    p.add_argument("--lr", default=0.02, type=float)
    p.add_argument("--weight-decay", default=1e-4, type=float)
    p.add_argument("--output-dir", default=".")
    p.add_argument("--weights", default=None)
    p.add_argument("--resume", default="")
    p.add_argument("--sync-bn", action="store_true")
    p.add_argument("--test-only", action="store_true")
    p.add_argument("--amp", action="store_true")
    main(p.parse_args())
