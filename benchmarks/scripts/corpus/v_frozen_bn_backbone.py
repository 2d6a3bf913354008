import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import resnet101

from voc import VOCSegmentation, miou


class DeepLab(nn.Module):
    def __init__(self, n_class=21, freeze_bn=True):
        super().__init__()
        net = resnet101(weights="DEFAULT", replace_stride_with_dilation=[False, False, True])
        self.backbone = nn.Sequential(*list(net.children())[:-2])
        self.aspp = nn.ModuleList([nn.Conv2d(2048, n_class, 3, padding=d, dilation=d) for d in (6, 12, 18, 24)])
        self.freeze_bn = freeze_bn

    def train(self, mode=True):
        super().train(mode)
        if self.freeze_bn:
            for m in self.backbone.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.eval()
        return self

    def forward(self, x):
        h = self.backbone(x)
        out = sum(conv(h) for conv in self.aspp)
        return nn.functional.interpolate(out, size=x.shape[-2:], mode="bilinear", align_corners=False)

    def groups(self, lr):
        return [{"params": self.backbone.parameters(), "lr": lr}, {"params": self.aspp.parameters(), "lr": 10 * lr}]


class Trainer:
    def __init__(self, args):
        self.model = DeepLab(freeze_bn=args.freeze_bn).cuda()
        self.opt = torch.optim.SGD(self.model.groups(args.lr), momentum=0.9)
        self.criterion = nn.CrossEntropyLoss(ignore_index=255)
        self.train_loader = DataLoader(VOCSegmentation("train"), 4, shuffle=True, drop_last=True)
        self.val_loader = DataLoader(VOCSegmentation("val"), 1)

    def training(self, epoch):
        self.model.train()
        for image, target in self.train_loader:
            loss = self.criterion(self.model(image.cuda()), target.cuda())
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        print(epoch, loss.item())

    def validation(self):
        self.model.eval()
        preds, targets = [], []
        for image, target in self.val_loader:
            with torch.no_grad():
                output = self.model(image.cuda())
            preds.append(output.argmax(1).cpu())
            targets.append(target)
        return miou(preds, targets, 21)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--freeze-bn", type=bool, default=True)
    p.add_argument("--lr", type=float, default=7e-3)
    p.add_argument("--epochs", type=int, default=50)
    args = p.parse_args()
    trainer = Trainer(args)
    for epoch in range(args.epochs):
        trainer.training(epoch)
        print("mIoU", trainer.validation())


if __name__ == "__main__":
    main()
