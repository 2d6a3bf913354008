import gc

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader
from tqdm import tqdm

from melanoma_dataset import MelanomaDataset, train_aug, valid_aug


class CFG:
    model_name = 'tf_efficientnet_b3_ns'
    n_folds = 5
    epochs = 8
    bs = 16
    lr = 3e-4
    patience = 3
    tta = 4
    device = 'cuda'


class CustomModel(nn.Module):
    def __init__(self, cfg, pretrained=True):
        super().__init__()
        self.model = timm.create_model(cfg.model_name, pretrained=pretrained)
        n = self.model.classifier.in_features
        self.model.classifier = nn.Identity()
        self.dropouts = nn.ModuleList([nn.Dropout(0.5) for _ in range(5)])
        self.fc = nn.Linear(n, 1)

    def forward(self, x):
        x = self.model(x)
        for i, drop in enumerate(self.dropouts):
            out = self.fc(drop(x)) if i == 0 else out + self.fc(drop(x))
        return out / len(self.dropouts)


def train_fn(loader, model, criterion, optimizer, scheduler, device):
    model.train()
    losses = []
    bar = tqdm(loader)
    for images, labels in bar:
        images, labels = images.to(device), labels.to(device).float()
        optimizer.zero_grad()
        y_preds = model(images).squeeze(1)
        loss = criterion(y_preds, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        bar.set_description('loss: %.5f' % np.mean(losses[-100:]))
    scheduler.step()
    return np.mean(losses)


def valid_fn(loader, model, criterion, device):
    losses, preds = [], []
    for images, labels in tqdm(loader):
        with torch.no_grad():
            y = model(images.to(device)).squeeze(1)  # expect: NA401
        losses.append(criterion(y, labels.to(device).float()).item())
        preds.append(y.sigmoid().cpu().numpy())
    return np.mean(losses), np.concatenate(preds)


def inference(model, states, loader, device):
    model.to(device)
    probs = []
    for images in tqdm(loader):
        avg = []
        for state in states:
            model.load_state_dict(state)
            model.eval()
            with torch.no_grad():
                avg.append(model(images.to(device)).sigmoid().cpu().numpy())
        probs.append(np.mean(avg, axis=0))
    return np.concatenate(probs)


def train_loop(df, fold):
    tr, va = df[df.fold != fold], df[df.fold == fold]
    train_loader = DataLoader(MelanomaDataset(tr, train_aug), CFG.bs, shuffle=True, num_workers=4, drop_last=True)
    valid_loader = DataLoader(MelanomaDataset(va, valid_aug), CFG.bs * 2, shuffle=False, num_workers=4)
    model = CustomModel(CFG).to(CFG.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=CFG.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CFG.epochs)
    criterion = nn.BCEWithLogitsLoss()
    best, wait = 0, 0
    for epoch in range(CFG.epochs):
        avg = train_fn(train_loader, model, criterion, optimizer, scheduler, CFG.device)
        val, preds = valid_fn(valid_loader, model, criterion, CFG.device)
        auc = roc_auc_score(va.target.values, preds)
        print(f'fold {fold} epoch {epoch + 1} train {avg:.4f} val {val:.4f} auc {auc:.4f}')
        if auc > best:
            best, wait = auc, 0
            torch.save(model.state_dict(), f'{CFG.model_name}_fold{fold}.pth')
        else:
            wait += 1
            if wait >= CFG.patience:
                break
    del model
    gc.collect()
    torch.cuda.empty_cache()
    return best


if __name__ == '__main__':
    df = pd.read_csv('train.csv')
    df['fold'] = -1
    for n, (_, idx) in enumerate(StratifiedKFold(CFG.n_folds, shuffle=True, random_state=42).split(df, df.target)):
        df.loc[idx, 'fold'] = n
    scores = [train_loop(df, f) for f in range(CFG.n_folds)]
    print('CV', np.mean(scores))
    states = [torch.load(f'{CFG.model_name}_fold{f}.pth') for f in range(CFG.n_folds)]
    test = pd.read_csv('test.csv')
    p = inference(CustomModel(CFG, pretrained=False), states, DataLoader(MelanomaDataset(test, valid_aug, test=True), CFG.bs), CFG.device)
    pd.DataFrame({'id': test.id, 'target': p[:, 0]}).to_csv('submission.csv', index=False)
