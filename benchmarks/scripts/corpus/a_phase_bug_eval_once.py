"""Skin lesion classifier, converted from notebook."""
import copy

import pandas as pd
import torch
import torch.nn as nn
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from tqdm import tqdm

CSV = '../input/ham10000/HAM10000_metadata.csv'
tfm = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])


class SkinDataset(Dataset):
    def __init__(self, df):
        self.df = df.reset_index(drop=True)

    def __len__(self):
        return len(self.df)

    def __getitem__(self, i):
        row = self.df.iloc[i]
        return tfm(Image.open(row['path'])), int(row['label'])


df = pd.read_csv(CSV)
df['label'] = pd.Categorical(df['dx']).codes
cut = int(.8 * len(df))
loaders = {
    'train': DataLoader(SkinDataset(df[:cut]), batch_size=32, shuffle=True, drop_last=True),
    'valid': DataLoader(SkinDataset(df[cut:]), batch_size=64),
}

model = models.densenet121(weights='IMAGENET1K_V1')
model.classifier = nn.Linear(model.classifier.in_features, 7)
model = model.cuda()
crit = nn.CrossEntropyLoss()
opt = torch.optim.Adam(model.parameters(), lr=1e-4)
best, best_w = 0., None

model.train()
for epoch in range(20):
    for phase in ('train', 'valid'):
        hits, seen = 0, 0
        if phase == 'valid':
            model.eval()  # expect: NA402
        for x, y in tqdm(loaders[phase], leave=False):
            x, y = x.cuda(), y.cuda()
            with torch.set_grad_enabled(phase == 'train'):
                out = model(x)
                loss = crit(out, y)
            if phase == 'train':
                opt.zero_grad()
                loss.backward()
                opt.step()
            hits += (out.argmax(1) == y).sum().item()
            seen += len(y)
        acc = hits / seen
        print('epoch %d %s acc %.4f' % (epoch, phase, acc))
        if phase == 'valid' and acc > best:
            best, best_w = acc, copy.deepcopy(model.state_dict())

model.load_state_dict(best_w)
torch.save(model.state_dict(), 'densenet.pt')
