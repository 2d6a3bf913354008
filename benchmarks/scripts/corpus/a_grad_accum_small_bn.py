"""Fundus segmentation on one 8 GB card, accumulating gradients."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader
import segmentation_models_pytorch as smp

from fundus import Fundus


def dice(pred, mask, eps=1e-6):
    pred = (pred > 0).float()
    return ((2 * (pred * mask).sum() + eps) / (pred.sum() + mask.sum() + eps)).item()


def get_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--encoder', default='resnet34')
    parser.add_argument('--epochs', type=int, default=60)
    return parser.parse_args()


def main():
    args = get_args()
    accumulation_steps = 8
    train_loader = DataLoader(Fundus('train'), batch_size=2, shuffle=True, num_workers=4, drop_last=True)
    val_loader = DataLoader(Fundus('val'), batch_size=2)
    model = smp.Unet(args.encoder, encoder_weights='imagenet', classes=1).cuda()
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        for i, (image, mask) in enumerate(train_loader):
            loss = loss_fn(model(image.cuda()), mask.cuda()) / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()  # expect: NA211
                optimizer.zero_grad()
        model.eval()
        scores = []
        with torch.no_grad():
            for image, mask in val_loader:
                logits = model(image.cuda())
                scores.append(dice(logits.cpu(), mask))
        print(f'{epoch}: dice {sum(scores) / len(scores):.4f}')


if __name__ == '__main__':
    main()
