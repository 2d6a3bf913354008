# Cassava leaf disease, 5 folds, inference with TTA over the saved checkpoints
import gc
import os

import albumentations as A
import cv2
import numpy as np
import pandas as pd
import timm
import torch
import torch.nn as nn
from albumentations.pytorch import ToTensorV2
from sklearn.model_selection import StratifiedKFold
from torch.cuda.amp import GradScaler, autocast
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

CFG = dict(fold_num=5, seed=719, model_arch='tf_efficientnet_b4_ns', img_size=512, epochs=10, bs=16, lr=1e-4, tta=3)
device = torch.device('cuda:0')


class CassavaDataset(Dataset):
    def __init__(self, df, root, tfm, labels=True):
        self.df, self.root, self.tfm, self.labels = df.reset_index(drop=True), root, tfm, labels

    def __len__(self):
        return len(self.df)

    def __getitem__(self, i):
        img = cv2.imread(os.path.join(self.root, self.df.image_id[i]))[:, :, ::-1]
        img = self.tfm(image=img)['image']
        return (img, self.df.label[i]) if self.labels else img


train_tfm = A.Compose([A.RandomResizedCrop(512, 512), A.HorizontalFlip(), A.Normalize(), ToTensorV2()])
valid_tfm = A.Compose([A.Resize(512, 512), A.Normalize(), ToTensorV2()])


class CassvaImgClassifier(nn.Module):
    def __init__(self, model_arch, n_class, pretrained=False):
        super().__init__()
        self.model = timm.create_model(model_arch, pretrained=pretrained)
        n_features = self.model.classifier.in_features
        self.model.classifier = nn.Linear(n_features, n_class)

    def forward(self, x):
        return self.model(x)


def train_one_epoch(epoch, model, loss_fn, optimizer, loader, scaler):
    model.train()
    for imgs, labels in tqdm(loader):
        imgs, labels = imgs.to(device), labels.to(device)
        with autocast():
            loss = loss_fn(model(imgs), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


def valid_one_epoch(epoch, model, loader):
    model.eval()
    preds, targets = [], []
    with torch.no_grad():
        for imgs, labels in loader:
            preds += [model(imgs.to(device)).argmax(1).cpu()]
            targets += [labels]
    acc = (torch.cat(preds) == torch.cat(targets)).float().mean().item()
    print(f'validation multi-class accuracy = {acc:.4f}')
    return acc


def inference_one_epoch(model, data_loader):
    image_preds_all = []
    for imgs in tqdm(data_loader):
        logits = model(imgs.to(device))  # expect: NA401
        image_preds_all += [torch.softmax(logits, 1).detach().cpu().numpy()]
    return np.concatenate(image_preds_all, axis=0)


if __name__ == '__main__':
    train = pd.read_csv('train.csv')
    folds = StratifiedKFold(CFG['fold_num'], shuffle=True, random_state=CFG['seed']).split(train.image_id, train.label)
    for fold, (trn_idx, val_idx) in enumerate(folds):
        trn = DataLoader(CassavaDataset(train.loc[trn_idx], 'train', train_tfm), CFG['bs'], shuffle=True, drop_last=True)
        val = DataLoader(CassavaDataset(train.loc[val_idx], 'train', valid_tfm), CFG['bs'])
        model = CassvaImgClassifier(CFG['model_arch'], 5, pretrained=True).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=CFG['lr'])
        scaler = GradScaler()
        for epoch in range(CFG['epochs']):
            train_one_epoch(epoch, model, nn.CrossEntropyLoss().to(device), optimizer, trn, scaler)
            valid_one_epoch(epoch, model, val)
            torch.save(model.state_dict(), f'fold_{fold}_{epoch}')
        del model
        gc.collect()

    test = pd.read_csv('sample_submission.csv')
    tst_loader = DataLoader(CassavaDataset(test, 'test', train_tfm, labels=False), CFG['bs'])
    tst_preds = []
    for fold in range(CFG['fold_num']):
        model = CassvaImgClassifier(CFG['model_arch'], 5).to(device)
        model.load_state_dict(torch.load(f"fold_{fold}_{CFG['epochs'] - 1}"))
        with torch.no_grad():
            for _ in range(CFG['tta']):
                tst_preds += [inference_one_epoch(model, tst_loader) / CFG['tta']]
    test['label'] = np.argmax(np.mean(tst_preds, axis=0), axis=1)
    test.to_csv('submission.csv', index=False)
