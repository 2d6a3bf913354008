import argparse

import torch
from datasets import load_dataset
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, BertForSequenceClassification, get_linear_schedule_with_warmup


def collate(tokenizer, max_len):
    def fn(batch):
        enc = tokenizer([b["sentence"] for b in batch], padding=True, truncation=True, max_length=max_len, return_tensors="pt")
        enc["labels"] = torch.tensor([b["label"] for b in batch])
        return enc
    return fn


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="bert-base-uncased")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--bs", type=int, default=32)
    args = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = BertForSequenceClassification.from_pretrained(args.model, num_labels=2)
    model.to(device)

    raw = load_dataset("glue", "sst2")
    train_loader = DataLoader(raw["train"], batch_size=args.bs, shuffle=True, collate_fn=collate(tokenizer, 128))
    optimizer = AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    total = len(train_loader) * args.epochs
    scheduler = get_linear_schedule_with_warmup(optimizer, int(0.1 * total), total)

    for epoch in range(args.epochs):
        running = 0.0
        for step, batch in enumerate(train_loader):
            batch = {k: v.to(device) for k, v in batch.items()}
            outputs = model(**batch)
            outputs.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # expect: NA405
            scheduler.step()
            optimizer.zero_grad()
            running += outputs.loss.item()
            if step % 200 == 199:
                print(f"epoch {epoch} step {step + 1} loss {running / 200:.4f}")
                running = 0.0
        model.save_pretrained(f"out/epoch-{epoch}")
        tokenizer.save_pretrained(f"out/epoch-{epoch}")


if __name__ == "__main__":
    main()
