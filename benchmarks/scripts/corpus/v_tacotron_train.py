import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from data_utils import TextMelCollate, TextMelLoader
from hparams import create_hparams
from logger import Tacotron2Logger
from loss_function import Tacotron2Loss


class Postnet(nn.Module):
    def __init__(self, n_mel, dim=512, n=5):
        super().__init__()
        sizes = [n_mel] + [dim] * (n - 1) + [n_mel]
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, b, 5, padding=2), nn.BatchNorm1d(b)) for a, b in zip(sizes[:-1], sizes[1:]))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        for conv in self.convolutions[:-1]:
            x = self.drop(torch.tanh(conv(x)))
        return self.drop(self.convolutions[-1](x))


class Tacotron2(nn.Module):
    def __init__(self, hparams):
        super().__init__()
        self.embedding = nn.Embedding(hparams.n_symbols, 512)
        self.encoder = nn.LSTM(512, 256, batch_first=True, bidirectional=True)
        self.proj = nn.Linear(512, hparams.n_mel_channels)
        self.postnet = Postnet(hparams.n_mel_channels)

    def parse_batch(self, batch):
        text, mel, gate = (t.cuda(non_blocking=True) for t in batch)
        return (text, mel), (mel, gate)

    def forward(self, inputs):
        text, _ = inputs
        mel = self.proj(self.encoder(self.embedding(text))[0]).transpose(1, 2)
        return mel, mel + self.postnet(mel)


def validate(model, criterion, valset, iteration, hparams, collate_fn, logger, rank):
    """Handles all the validation scoring and printing"""
    model.eval()  # expect: NA402
    with torch.no_grad():
        val_loader = DataLoader(valset, num_workers=1, batch_size=hparams.batch_size, collate_fn=collate_fn)
        val_loss = 0.0
        for i, batch in enumerate(val_loader):
            x, y = model.module.parse_batch(batch)
            val_loss += criterion(model(x), y).item()
        val_loss /= i + 1
    if rank != 0:
        return
    model.train()
    print("Validation loss {}: {:9f}".format(iteration, val_loss))
    logger.log_validation(val_loss, model, iteration)


def train(args, hparams):
    dist.init_process_group("nccl")
    rank = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(rank)
    model = Tacotron2(hparams).cuda()
    model = DDP(model, device_ids=[rank])  # expect: NA203
    optimizer = torch.optim.Adam(model.parameters(), lr=hparams.learning_rate)
    criterion = Tacotron2Loss()
    logger = Tacotron2Logger(args.log_directory)
    collate_fn = TextMelCollate(1)
    trainset = TextMelLoader(hparams.training_files, hparams)
    valset = TextMelLoader(hparams.validation_files, hparams)
    train_loader = DataLoader(trainset, sampler=DistributedSampler(trainset), batch_size=4, drop_last=True, collate_fn=collate_fn)
    iteration = 0
    for epoch in range(hparams.epochs):
        model.train()
        for batch in train_loader:
            x, y = model.module.parse_batch(batch)
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if iteration % 1000 == 0:
                validate(model, criterion, valset, iteration, hparams, collate_fn, logger, rank)
            iteration += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-l", "--log_directory", default="logs")
    train(parser.parse_args(), create_hparams())
