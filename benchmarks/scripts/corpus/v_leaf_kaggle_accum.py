import gc
import random

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn as nn
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold
from torch.cuda.amp import GradScaler, autocast
from tqdm import tqdm

from cassava_data import CassavaDataset, get_train_transforms, get_valid_transforms

CFG = {"fold_num": 5, "seed": 719, "model_arch": "tf_efficientnet_b4_ns", "epochs": 10, "train_bs": 8, "valid_bs": 32,
       "lr": 1e-4, "accum_iter": 4, "device": "cuda:0"}


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class CassvaImgClassifier(nn.Module):
    def __init__(self, model_arch, n_class, pretrained=False):
        super().__init__()
        self.model = timm.create_model(model_arch, pretrained=pretrained)
        self.model.classifier = nn.Linear(self.model.classifier.in_features, n_class)

    def forward(self, x):
        return self.model(x)


def train_one_epoch(epoch, model, loss_fn, optimizer, train_loader, device, scaler):
    model.train()
    running_loss = None
    pbar = tqdm(enumerate(train_loader), total=len(train_loader))
    for step, (imgs, labels) in pbar:
        imgs, labels = imgs.to(device).float(), labels.to(device).long()
        with autocast():
            loss = loss_fn(model(imgs), labels)
            scaler.scale(loss).backward()
            running_loss = loss.item() if running_loss is None else running_loss * 0.99 + loss.item() * 0.01
            if (step + 1) % CFG["accum_iter"] == 0 or (step + 1) == len(train_loader):
                scaler.step(optimizer)  # expect: NA211
                scaler.update()
                optimizer.zero_grad()
        pbar.set_description(f"epoch {epoch} loss: {running_loss:.4f}")


def valid_one_epoch(epoch, model, val_loader, device):
    model.eval()
    preds, targets = [], []
    for imgs, labels in tqdm(val_loader):
        with torch.no_grad():
            preds.append(model(imgs.to(device).float()).argmax(1).cpu().numpy())
        targets.append(labels.numpy())
    print("validation accuracy", accuracy_score(np.concatenate(targets), np.concatenate(preds)))


if __name__ == "__main__":
    seed_everything(CFG["seed"])
    train = pd.read_csv("../input/train.csv")
    folds = StratifiedKFold(n_splits=CFG["fold_num"], shuffle=True, random_state=CFG["seed"]).split(train.image_id, train.label.values)
    for fold, (trn_idx, val_idx) in enumerate(folds):
        trn = CassavaDataset(train.iloc[trn_idx], transforms=get_train_transforms())
        val = CassavaDataset(train.iloc[val_idx], transforms=get_valid_transforms())
        train_loader = torch.utils.data.DataLoader(trn, batch_size=CFG["train_bs"], shuffle=True, drop_last=False)
        val_loader = torch.utils.data.DataLoader(val, batch_size=CFG["valid_bs"])
        device = torch.device(CFG["device"])
        model = CassvaImgClassifier(CFG["model_arch"], train.label.nunique(), pretrained=True).to(device)
        scaler = GradScaler()
        optimizer = torch.optim.Adam(model.parameters(), lr=CFG["lr"])
        for epoch in range(CFG["epochs"]):
            train_one_epoch(epoch, model, nn.CrossEntropyLoss().to(device), optimizer, train_loader, device, scaler)
            valid_one_epoch(epoch, model, val_loader, device)
            torch.save(model.state_dict(), "{}_fold_{}_{}".format(CFG["model_arch"], fold, epoch))
        del model, optimizer, train_loader, val_loader
        gc.collect()
