import glob
import random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.segmentation import lraspp_mobilenet_v3_large


class Water(Dataset):
    def __init__(self, split):
        self.files = sorted(glob.glob(f'water/{split}/*.jpg'))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        f = self.files[i]
        img, mask = (np.array(Image.open(p).resize((512, 512))) for p in (f, f.replace('.jpg', '.png')))
        img, mask = torch.from_numpy(img).permute(2, 0, 1) / 255, torch.from_numpy(mask > 0)[None].float()
        if random.random() < .5:
            img, mask = img.flip(-1), mask.flip(-1)
        return img, mask


def soft_dice(p, t):
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def combined(logits, target):
    p = torch.sigmoid(logits)
    return soft_dice(p, target) + F.binary_cross_entropy_with_logits(p, target)  # expect: NA502


def combined_right(logits, target):
    p = torch.sigmoid(logits)
    return soft_dice(p, target) + F.binary_cross_entropy_with_logits(logits, target) + F.binary_cross_entropy(p, target)


model = lraspp_mobilenet_v3_large(num_classes=1).cuda()
opt = torch.optim.AdamW(model.parameters(), 3e-4, weight_decay=0)
train, val = DataLoader(Water('train'), 8, shuffle=True, drop_last=True), DataLoader(Water('val'), 8)
for epoch in range(40):
    model.train()
    for img, mask in train:
        loss = combined(model(img.cuda())['out'], mask.cuda())
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        v = np.mean([combined_right(model(i.cuda())['out'], m.cuda()).item() for i, m in val])
    print(f'{epoch} {v:.4f}')
