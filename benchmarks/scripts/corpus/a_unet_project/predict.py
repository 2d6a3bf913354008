import argparse
import logging
import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from data_loading import CarvanaDataset
from unet import UNet


def predict_img(net, full_img, device, scale_factor=1, out_threshold=0.5):
    img = torch.from_numpy(CarvanaDataset.preprocess(full_img, scale_factor))
    img = img.unsqueeze(0).to(device=device, dtype=torch.float32)
    with torch.no_grad():
        output = net(img).cpu()  # expect: NA401
        output = F.interpolate(output, (full_img.size[1], full_img.size[0]), mode='bilinear')
        if net.n_classes > 1:
            mask = output.argmax(dim=1)
        else:
            mask = torch.sigmoid(output) > out_threshold
    return mask[0].long().squeeze().numpy()


def get_args():
    parser = argparse.ArgumentParser(description='Predict masks from input images')
    parser.add_argument('--model', '-m', default='MODEL.pth')
    parser.add_argument('--input', '-i', nargs='+', required=True)
    parser.add_argument('--scale', '-s', type=float, default=0.5)
    return parser.parse_args()


if __name__ == '__main__':
    args = get_args()
    net = UNet(n_channels=3, n_classes=2)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    net.to(device=device)
    net.load_state_dict(torch.load(args.model, map_location=device))
    for i, filename in enumerate(args.input):
        logging.info(f'Predicting image {filename} ...')
        mask = predict_img(net=net, full_img=Image.open(filename), scale_factor=args.scale, device=device)
        Image.fromarray((mask * 255).astype(np.uint8)).save(f'{os.path.splitext(filename)[0]}_OUT.png')
