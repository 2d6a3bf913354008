"""Plant pathology: out-of-fold training and a checkpoint ensemble."""
import glob

import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from torch.utils.data import DataLoader, Subset
from torchvision import models

from dataset import PlantDataset, get_transforms

DEVICE = "cuda"
N_FOLDS = 5


def build(pretrained):
    net = models.densenet121(pretrained=pretrained)
    net.classifier = nn.Linear(net.classifier.in_features, 4)
    return net.to(DEVICE)


def run_epoch(net, loader, opt=None):
    """One pass; trains if an optimizer is given, otherwise only measures."""
    is_train = opt is not None
    net.train(is_train)
    loss_sum, outs, tgts = 0.0, [], []
    with torch.set_grad_enabled(is_train):
        for x, y in loader:
            x, y = x.to(DEVICE), y.to(DEVICE)
            logits = net(x)
            loss = nn.functional.cross_entropy(logits, y)
            if is_train:
                opt.zero_grad()
                loss.backward()
                opt.step()
            loss_sum += loss.item() * len(x)
            outs.append(logits.softmax(1).detach().cpu())
            tgts.append(y.cpu())
    return loss_sum / len(loader.dataset), torch.cat(outs), torch.cat(tgts)


def load_ensemble(pattern):
    nets = []
    for path in sorted(glob.glob(pattern)):
        net = build(pretrained=False)
        net.load_state_dict(torch.load(path))
        nets.append(net)
    return [n.eval() for n in nets]


@torch.no_grad()
def predict(nets, loader):
    preds = []
    for x, _ in loader:
        x = x.to(DEVICE)
        views = (x, x.flip(-1), x.flip(-2))
        p = torch.stack([n(v).softmax(1) for n in nets for v in views]).mean(0)
        preds.append(p.cpu().numpy())
    return np.concatenate(preds)


def main():
    df = pd.read_csv("train.csv")
    ds_t, ds_v = PlantDataset(df, get_transforms(True)), PlantDataset(df, get_transforms(False))
    for fold, (tr, va) in enumerate(KFold(N_FOLDS, shuffle=True, random_state=1).split(df)):
        tl = DataLoader(Subset(ds_t, tr), 32, shuffle=True, num_workers=4)
        vl = DataLoader(Subset(ds_v, va), 64, num_workers=4)
        net = build(pretrained=True)
        opt = torch.optim.Adam(net.parameters(), 1e-4)
        best, patience = 0, 3
        for epoch in range(20):
            tr_loss, _, _ = run_epoch(net, tl, opt)
            va_loss, p, y = run_epoch(net, vl)
            auc = roc_auc_score(y, p, multi_class="ovr")
            print(f"fold {fold} epoch {epoch} {tr_loss:.4f} {va_loss:.4f} auc {auc:.4f}")
            if auc > best:
                best, patience = auc, 3
                torch.save(net.state_dict(), f"fold{fold}.pth")
            else:
                patience -= 1
                if patience == 0:
                    break
    sub = pd.read_csv("sample_submission.csv")
    test_loader = DataLoader(PlantDataset(sub, get_transforms(False)), 64)
    sub.iloc[:, 1:] = predict(load_ensemble("fold*.pth"), test_loader)
    sub.to_csv("submission.csv", index=False)


if __name__ == "__main__":
    main()
