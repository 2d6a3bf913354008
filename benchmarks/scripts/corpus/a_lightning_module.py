import os

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import transforms
from torchvision.datasets import CIFAR10
from torchvision.models import resnet18


class LitResnet(pl.LightningModule):
    def __init__(self, lr=0.05, batch_size=256):
        super().__init__()
        self.save_hyperparameters()
        self.model = resnet18(weights=None, num_classes=10)
        self.model.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        self.model.maxpool = nn.Identity()
        self.val_acc = torchmetrics.Accuracy(task="multiclass", num_classes=10)

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def evaluate(self, batch, stage=None):
        x, y = batch
        logits = self(x)
        self.val_acc(logits.argmax(dim=1), y)
        self.log(f"{stage}_loss", F.cross_entropy(logits, y), prog_bar=True)
        self.log(f"{stage}_acc", self.val_acc, prog_bar=True)

    def validation_step(self, batch, batch_idx):
        self.evaluate(batch, "val")

    def test_step(self, batch, batch_idx):
        self.evaluate(batch, "test")

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return self(batch[0]).softmax(-1)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=self.trainer.max_epochs, steps_per_epoch=196)]


def loaders(root):
    full = CIFAR10(root, train=True, download=True, transform=transforms.ToTensor())
    tr, va = random_split(full, [45000, 5000])
    te = CIFAR10(root, train=False, download=True, transform=transforms.ToTensor())
    return [DataLoader(d, 256, shuffle=i == 0, num_workers=os.cpu_count()) for i, d in enumerate((tr, va, te))]


if __name__ == "__main__":
    pl.seed_everything(7)
    train_dl, val_dl, test_dl = loaders(os.environ.get("PATH_DATASETS", "."))
    model = LitResnet()
    trainer = pl.Trainer(max_epochs=30, accelerator="auto", logger=pl.loggers.CSVLogger("logs/"))
    trainer.fit(model, train_dl, val_dl)
    trainer.test(model, test_dl)
