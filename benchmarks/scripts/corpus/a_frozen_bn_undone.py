import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.segmentation import fcn_resnet101


def freeze_bn(module):
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()
            m.weight.requires_grad = False
            m.bias.requires_grad = False


def train_one_epoch(model, optimizer, loader, device, epoch):
    model.train()  # expect: NA406
    for i, (image, target) in enumerate(loader):
        image, target = image.to(device), target.to(device)
        output = model(image)
        loss = nn.functional.cross_entropy(output['out'], target, ignore_index=255) \
            + .5 * nn.functional.cross_entropy(output['aux'], target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 20 == 0:
            print(f'Epoch [{epoch}] {i}/{len(loader)} loss {loss.item():.4f}')


def evaluate(model, loader, device, num_classes):
    model.eval()
    mat = torch.zeros(num_classes, num_classes)
    with torch.inference_mode():
        for image, target in loader:
            pred = model(image.to(device))['out'].argmax(1).cpu()
            k = (target >= 0) & (target < num_classes)
            mat += torch.bincount(num_classes * target[k] + pred[k], minlength=num_classes ** 2).reshape(num_classes, num_classes)
    return (mat.diag() / (mat.sum(0) + mat.sum(1) - mat.diag())).mean().item()


def main(args):
    from voc import get_dataset
    device = torch.device(args.device)
    model = fcn_resnet101(weights='DEFAULT').to(device)
    freeze_bn(model.backbone)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=args.lr, momentum=0.9)
    train = DataLoader(get_dataset('train'), batch_size=args.batch_size, shuffle=True, drop_last=True)
    val = DataLoader(get_dataset('val'), batch_size=1)
    for epoch in range(args.epochs):
        train_one_epoch(model, optimizer, train, device, epoch)
        print('mIoU', evaluate(model, val, device, 21))
        torch.save(model.state_dict(), f'fcn_{epoch}.pth')


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--epochs', type=int, default=20)
    main(parser.parse_args())
