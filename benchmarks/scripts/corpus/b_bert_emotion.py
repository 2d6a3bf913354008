# -*- coding: utf-8 -*-
"""Fine-tune RoBERTa on the emotion data set (plain PyTorch loop)."""
import random

import numpy as np
import torch
from datasets import load_dataset
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader
from transformers import RobertaForSequenceClassification, RobertaTokenizerFast, get_linear_schedule_with_warmup

MAX_LEN = 128
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
tokenizer = RobertaTokenizerFast.from_pretrained("roberta-base")


def set_seed(s):
    random.seed(s)
    np.random.seed(s)
    torch.manual_seed(s)


def collate(rows):
    enc = tokenizer([r["text"] for r in rows], padding=True, truncation=True, max_length=MAX_LEN, return_tensors="pt")
    enc["labels"] = torch.tensor([r["label"] for r in rows])
    return enc


def main():
    set_seed(42)
    ds = load_dataset("dair-ai/emotion")
    train_dl = DataLoader(ds["train"], batch_size=32, shuffle=True, collate_fn=collate)
    test_dl = DataLoader(ds["test"], batch_size=64, collate_fn=collate)

    model = RobertaForSequenceClassification.from_pretrained("roberta-base", num_labels=6)
    model = model.to(device)
    no_decay = ["bias", "LayerNorm.weight"]
    groups = [
        {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
        {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=2e-5)
    num_steps = 3 * len(train_dl)
    scheduler = get_linear_schedule_with_warmup(optimizer, int(0.06 * num_steps), num_steps)

    for epoch in range(3):
        running = 0.0
        for step, batch in enumerate(train_dl):
            batch = {k: v.to(device) for k, v in batch.items()}
            out = model(**batch)
            out.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # expect: NA405
            scheduler.step()
            optimizer.zero_grad()
            running += out.loss.item()
        print(f"epoch {epoch} loss {running / len(train_dl):.4f}")

    model.eval()
    preds, golds = [], []
    with torch.no_grad():
        for batch in test_dl:
            golds += batch.pop("labels").tolist()
            batch = {k: v.to(device) for k, v in batch.items()}
            preds += model(**batch).logits.argmax(-1).cpu().tolist()
    print("macro f1", f1_score(golds, preds, average="macro"))
    model.save_pretrained("out/emotion")


if __name__ == "__main__":
    main()
