from argparse import ArgumentParser

import pytorch_lightning as pl
import torch
import torch.nn as nn
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import models, transforms
from torchvision.datasets import FashionMNIST


class LitClassifier(pl.LightningModule):
    def __init__(self, lr=1e-3, dropout=0.2):
        super().__init__()
        self.save_hyperparameters()
        self.backbone = models.resnet18(num_classes=128)
        self.backbone.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.head = nn.Sequential(nn.BatchNorm1d(128), nn.Dropout(dropout), nn.Linear(128, 10))
        self.acc = MulticlassAccuracy(10)

    def forward(self, x):
        return self.head(self.backbone(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log('train_loss', loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.acc(logits, y)
        self.log('valid_acc', self.acc, prog_bar=True)
        self.log('valid_loss', F.cross_entropy(logits, y))

    def test_step(self, batch, batch_idx):
        x, y = batch
        preds = self.forward(x).argmax(-1)
        self.log('test_acc', (preds == y).float().mean())

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return self(batch[0]).softmax(-1)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


class FashionData(pl.LightningDataModule):
    def __init__(self, batch_size=64):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage=None):
        full = FashionMNIST('data', train=True, download=True, transform=transforms.ToTensor())
        self.tr, self.va = random_split(full, [55000, 5000])
        self.te = FashionMNIST('data', train=False, transform=transforms.ToTensor())

    def train_dataloader(self):
        return DataLoader(self.tr, self.batch_size, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.va, self.batch_size)

    def test_dataloader(self):
        return DataLoader(self.te, self.batch_size)


def cli_main():
    parser = ArgumentParser()
    parser.add_argument('--max_epochs', default=10, type=int)
    args = parser.parse_args()
    dm = FashionData()
    model = LitClassifier()
    trainer = pl.Trainer(max_epochs=args.max_epochs, callbacks=[EarlyStopping('valid_loss'), ModelCheckpoint(monitor='valid_acc', mode='max')])
    trainer.fit(model, datamodule=dm)
    trainer.test(ckpt_path='best', datamodule=dm)
    preds = torch.cat(trainer.predict(model, dm.test_dataloader()))
    print(preds.argmax(1).bincount())


if __name__ == '__main__':
    cli_main()
