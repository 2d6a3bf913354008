import argparse

import lightning as L
import torch
import torch.nn.functional as F
import torchaudio
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MultilabelAveragePrecision

from audioset import ClipDataset, LABELS


class AudioTagger(L.LightningModule):
    def __init__(self, n_classes=527, lr=1e-3, p=0.2):
        super().__init__()
        self.save_hyperparameters()
        self.mel = torchaudio.transforms.MelSpectrogram(16000, n_mels=64)
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(p),
            nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(128, n_classes)
        self.map = MultilabelAveragePrecision(n_classes)

    def forward(self, wav):
        return self.head(self.cnn(torch.log(self.mel(wav).unsqueeze(1) + 1e-6)))

    def training_step(self, batch, batch_idx):
        wav, y = batch
        loss = F.binary_cross_entropy_with_logits(self(wav), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        wav, y = batch
        logits = self(wav)
        self.map.update(torch.sigmoid(logits), y.int())
        self.log("val_loss", F.binary_cross_entropy_with_logits(logits, y))

    def on_validation_epoch_end(self):
        self.log("val_map", self.map.compute())
        self.map.reset()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def tag(ckpt, wav_path, top=5):
    model = AudioTagger.load_from_checkpoint(ckpt)
    model.freeze()
    wav, sr = torchaudio.load(wav_path)
    wav = torchaudio.functional.resample(wav.mean(0, keepdim=True), sr, 16000)
    probs = torch.sigmoid(model(wav.to(model.device)))[0]
    for score, index in zip(*probs.topk(top)):
        print(f"{LABELS[index]:30s} {score:.3f}")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--tag")
    ap.add_argument("--ckpt", default="best.ckpt")
    args = ap.parse_args()
    if args.tag:
        tag(args.ckpt, args.tag)
        return
    trainer = L.Trainer(max_epochs=30, accelerator="auto", callbacks=[ModelCheckpoint(monitor="val_map", mode="max")])
    model = AudioTagger()
    trainer.fit(model, DataLoader(ClipDataset("train"), 64, shuffle=True), DataLoader(ClipDataset("val"), 64))


if __name__ == "__main__":
    main()
