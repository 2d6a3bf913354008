"""Video features from the trunk of an image classifier, and image features for retrieval."""
import argparse
import math

import h5py
import torch
import torch.nn as nn
from torchvision import models

from clips import iterate_clips, iterate_images


class GlobalAvgPool(nn.Module):
    def forward(self, x):
        return torch.mean(x, dim=[-2, -1])


def get_model(args):
    if args.type == '2d':
        print('Loading 2D-ResNet-152 ...')
        model = models.resnet152(pretrained=True)
        model = nn.Sequential(*list(model.children())[:-2], GlobalAvgPool())
        model = model.cuda()
    elif args.type == 'small':
        model = models.mobilenet_v2(pretrained=True).features
        model = nn.Sequential(model, GlobalAvgPool()).cuda()
    else:
        raise ValueError('unknown type ' + args.type)
    model.eval()
    print('loaded')
    return model


def image_trunk():
    full = models.resnet50(weights='DEFAULT')
    full.eval()
    return nn.Sequential(*list(full.children())[:-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('csv')
    parser.add_argument('--type', default='2d')
    parser.add_argument('--batch_size', type=int, default=64)
    args = parser.parse_args()
    model, trunk = get_model(args), image_trunk()
    with torch.no_grad(), h5py.File('out.h5', 'w') as out:
        for name, video in iterate_clips(args.csv):
            parts = []
            for i in range(int(math.ceil(len(video) / args.batch_size))):
                parts.append(model(video[i * args.batch_size:(i + 1) * args.batch_size].cuda()).cpu())
            out[name] = torch.cat(parts).numpy()
        for name, image in iterate_images(args.csv):
            out['image/' + name] = trunk(image).flatten(1).numpy()


if __name__ == '__main__':
    main()
