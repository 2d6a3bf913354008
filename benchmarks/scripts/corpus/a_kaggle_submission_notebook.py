#!/usr/bin/env python
# coding: utf-8

# # Plant pathology: EfficientNet baseline

# In[1]:


import gc
import os

import cv2
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm.notebook import tqdm
from efficientnet_pytorch import EfficientNet
import albumentations as A
from albumentations.pytorch import ToTensorV2

# In[2]:


PATH = '/kaggle/input/plant-pathology-2020-fgvc7'
train_df = pd.read_csv(f'{PATH}/train.csv')
sub = pd.read_csv(f'{PATH}/sample_submission.csv')
COLS = ['healthy', 'multiple_diseases', 'rust', 'scab']
device = torch.device('cuda')

# In[3]:


class PlantDataset(Dataset):
    def __init__(self, df, tfms, test=False):
        self.df, self.tfms, self.test = df, tfms, test

    def __len__(self):
        return len(self.df)

    def __getitem__(self, i):
        img = cv2.imread(f"{PATH}/images/{self.df.image_id.values[i]}.jpg")[..., ::-1]
        img = self.tfms(image=img)['image']
        if self.test:
            return img
        return img, int(self.df[COLS].values[i].argmax())


tfms = A.Compose([A.Resize(320, 320), A.HorizontalFlip(), A.VerticalFlip(), A.Normalize(), ToTensorV2()])
test_tfms = A.Compose([A.Resize(320, 320), A.Normalize(), ToTensorV2()])
train_dl = DataLoader(PlantDataset(train_df, tfms), batch_size=16, shuffle=True, num_workers=2, drop_last=True)
test_dl = DataLoader(PlantDataset(sub, test_tfms, test=True), batch_size=16, num_workers=2)

# In[4]:


class Plant(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = EfficientNet.from_pretrained('efficientnet-b3')
        self.bn = nn.BatchNorm1d(1536)
        self.fc = nn.Linear(1536, 4)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.base.extract_features(x), 1).flatten(1)
        return self.fc(self.bn(x))


model = Plant().to(device)
opt = torch.optim.Adam(model.parameters(), lr=8e-5)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 15)

# In[5]:


for epoch in range(15):
    model.train()
    tot = 0
    for x, y in tqdm(train_dl):
        opt.zero_grad()
        loss = F.cross_entropy(model(x.to(device)), y.to(device))
        loss.backward()
        opt.step()
        tot += loss.item()
    sched.step()
    print(epoch, tot / len(train_dl))

# In[6]:


gc.collect()
torch.cuda.empty_cache()
preds = []
with torch.no_grad():
    for x in tqdm(test_dl):
        preds.append(F.softmax(model(x.to(device)), dim=1).cpu().numpy())  # expect: NA401
sub[COLS] = np.concatenate(preds)
sub.to_csv('submission.csv', index=False)
