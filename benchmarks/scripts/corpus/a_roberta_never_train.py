"""Sentiment classification of tweets. RoBERTa + linear head."""
import argparse
import random

import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, Dataset
from transformers import RobertaForSequenceClassification, RobertaTokenizerFast, get_linear_schedule_with_warmup


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Tweets(Dataset):
    def __init__(self, frame, tok, max_len):
        self.enc = tok(frame.text.tolist(), truncation=True, padding="max_length", max_length=max_len, return_tensors="pt")
        self.y = torch.tensor(frame.target.values)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return {"input_ids": self.enc.input_ids[i], "attention_mask": self.enc.attention_mask[i], "labels": self.y[i]}


def train(args):
    seed_everything(args.seed)
    frame = pd.read_csv(args.csv)
    tok = RobertaTokenizerFast.from_pretrained("roberta-base")
    model = RobertaForSequenceClassification.from_pretrained("roberta-base", num_labels=3).cuda()
    loader = DataLoader(Tweets(frame, tok, 96), batch_size=32, shuffle=True)
    no_decay = ["bias", "LayerNorm.weight"]
    groups = [
        {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
        {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=2e-5)
    scheduler = get_linear_schedule_with_warmup(optimizer, 100, len(loader) * args.epochs)
    scaler = torch.cuda.amp.GradScaler()
    for epoch in range(args.epochs):
        total, gold, guess = 0.0, [], []
        for step, batch in enumerate(loader):
            batch = {k: v.cuda() for k, v in batch.items()}
            with torch.cuda.amp.autocast():
                out = model(**batch)
            scaler.scale(out.loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)  # expect: NA405
            scaler.update()
            scheduler.step()
            optimizer.zero_grad()
            total += out.loss.item()
            gold += batch["labels"].tolist()
            guess += out.logits.argmax(-1).tolist()
        print(f"epoch {epoch} loss {total / len(loader):.4f} f1 {f1_score(gold, guess, average='macro'):.4f}")
    model.save_pretrained(args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("csv")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default="roberta-tweets")
    train(parser.parse_args())
