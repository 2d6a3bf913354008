import argparse
import math
from copy import deepcopy

import torch
import torch.nn as nn
from torch.optim import SGD, lr_scheduler
from tqdm import tqdm

import val as validate
from models.yolo import Model
from utils.dataloaders import create_dataloader
from utils.loss import ComputeLoss


class ModelEMA:
    """Keeps a moving average of everything in the model state_dict (parameters and buffers)."""

    def __init__(self, model, decay=0.9999, tau=2000, updates=0):
        self.ema = deepcopy(model).eval()
        self.updates = updates
        self.decay = lambda x: decay * (1 - math.exp(-x / tau))
        for p in self.ema.parameters():
            p.requires_grad_(False)

    def update(self, model):
        self.updates += 1
        d = self.decay(self.updates)
        msd = model.state_dict()
        for k, v in self.ema.state_dict().items():
            if v.dtype.is_floating_point:
                v *= d
                v += (1 - d) * msd[k].detach()


def smart_optimizer(model, lr, momentum, decay):
    g = [], [], []
    bn = tuple(v for k, v in nn.__dict__.items() if "Norm" in k)
    for v in model.modules():
        for p_name, p in v.named_parameters(recurse=False):
            if p_name == "bias":
                g[2].append(p)
            elif p_name == "weight" and isinstance(v, bn):
                g[1].append(p)
            else:
                g[0].append(p)
    optimizer = SGD(g[2], lr=lr, momentum=momentum, nesterov=True)
    optimizer.add_param_group({"params": g[0], "weight_decay": decay})
    optimizer.add_param_group({"params": g[1], "weight_decay": 0.0})
    return optimizer


def train(hyp, opt, device):
    ckpt = torch.load(opt.weights, map_location="cpu")
    model = Model(opt.cfg or ckpt["model"].yaml, ch=3, nc=opt.nc).to(device)
    model.load_state_dict(ckpt["model"].float().state_dict(), strict=False)
    freeze = [f"model.{x}." for x in range(opt.freeze)]
    for k, v in model.named_parameters():
        v.requires_grad = True
        if any(x in k for x in freeze):
            v.requires_grad = False
    accumulate = max(round(64 / opt.batch_size), 1)
    optimizer = smart_optimizer(model, hyp["lr0"], hyp["momentum"], hyp["weight_decay"])
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda x: (1 - x / opt.epochs) * 0.99 + 0.01)
    ema = ModelEMA(model)
    train_loader = create_dataloader(opt.data, "train", opt.batch_size)
    val_loader = create_dataloader(opt.data, "val", opt.batch_size * 2)
    scaler = torch.cuda.amp.GradScaler()
    compute_loss = ComputeLoss(model)
    last_opt_step, best = -1, 0.0
    for epoch in range(opt.epochs):
        model.train()
        optimizer.zero_grad()
        for i, (imgs, targets) in tqdm(enumerate(train_loader), total=len(train_loader)):
            ni = i + len(train_loader) * epoch
            with torch.cuda.amp.autocast():
                pred = model(imgs.to(device).float() / 255)  # allow: NA210
                loss, items = compute_loss(pred, targets.to(device))
            scaler.scale(loss).backward()
            if ni - last_opt_step >= accumulate:
                scaler.step(optimizer)  # allow: NA211
                scaler.update()
                optimizer.zero_grad()
                ema.update(model)
                last_opt_step = ni
        scheduler.step()
        results, maps = validate.run(opt.data, model=ema.ema, dataloader=val_loader, compute_loss=compute_loss)
        if results[0] > best:
            best = results[0]
            torch.save({"epoch": epoch, "model": deepcopy(model).half(), "ema": deepcopy(ema.ema).half()}, "best.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", default="yolov5s.pt")
    parser.add_argument("--cfg", default="")
    parser.add_argument("--data", default="coco128.yaml")
    parser.add_argument("--nc", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--freeze", type=int, default=0)
    train({"lr0": 0.01, "momentum": 0.937, "weight_decay": 5e-4}, parser.parse_args(), torch.device("cuda:0"))
