"""Dump penultimate ResNet features of an image folder into an .npz for retrieval."""
import argparse
import glob
import os

import numpy as np
import torch
from PIL import Image
from torchvision import models, transforms

preprocess = transforms.Compose([
    transforms.Resize(256),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])


def get_model(layer, device):
    model = models.resnet101(pretrained=True)
    bag = {}

    def hook(module, inp, out):
        bag['feat'] = out.detach().flatten(1)

    getattr(model, layer).register_forward_hook(hook)
    return model.to(device), bag


def batched(files, n):
    for i in range(0, len(files), n):
        yield files[i:i + n]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder')
    parser.add_argument('--out', default='features.npz')
    parser.add_argument('--layer', default='avgpool')
    args = parser.parse_args()
    device = torch.device('cuda:0')
    model, bag = get_model(args.layer, device)
    files = sorted(glob.glob(os.path.join(args.folder, '**', '*.jpg'), recursive=True))
    rows = []
    for chunk in batched(files, 64):
        x = torch.stack([preprocess(Image.open(f).convert('RGB')) for f in chunk]).to(device)
        with torch.no_grad():
            model(x)  # expect: NA401
        rows.append(bag['feat'].cpu().numpy())
    np.savez(args.out, files=np.array(files), features=np.concatenate(rows))


if __name__ == '__main__':
    main()
