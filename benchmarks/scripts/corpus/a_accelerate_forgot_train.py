import argparse

import evaluate as hf_evaluate
import torch
from accelerate import Accelerator
from datasets import load_dataset
from torch.utils.data import DataLoader
from transformers import AutoImageProcessor, AutoModelForImageClassification, set_seed


def build_loaders(accelerator, processor, batch_size):
    ds = load_dataset("food101")

    def tf(batch):
        batch["pixel_values"] = processor(batch["image"], return_tensors="pt")["pixel_values"]
        return batch

    ds = ds.with_transform(tf)

    def collate(rows):
        return {"pixel_values": torch.stack([r["pixel_values"] for r in rows]), "labels": torch.tensor([r["label"] for r in rows])}

    with accelerator.main_process_first():
        train = DataLoader(ds["train"], shuffle=True, collate_fn=collate, batch_size=batch_size)
        val = DataLoader(ds["validation"], collate_fn=collate, batch_size=batch_size)
    return train, val


def training_function(config, args):
    accelerator = Accelerator(mixed_precision=args.mixed_precision)
    metric = hf_evaluate.load("accuracy")
    set_seed(config["seed"])
    processor = AutoImageProcessor.from_pretrained("microsoft/resnet-50")
    train_dataloader, eval_dataloader = build_loaders(accelerator, processor, config["batch_size"])
    model = AutoModelForImageClassification.from_pretrained("microsoft/resnet-50", num_labels=101, ignore_mismatched_sizes=True)
    optimizer = torch.optim.AdamW(params=model.parameters(), lr=config["lr"], weight_decay=0)
    model, optimizer, train_dataloader, eval_dataloader = accelerator.prepare(model, optimizer, train_dataloader, eval_dataloader)

    model.train()
    for epoch in range(config["num_epochs"]):
        for step, batch in enumerate(train_dataloader):
            outputs = model(**batch)
            accelerator.backward(outputs.loss)
            optimizer.step()
            optimizer.zero_grad()

        model.eval()  # expect: NA402
        for step, batch in enumerate(eval_dataloader):
            with torch.no_grad():
                outputs = model(**batch)
            predictions = outputs.logits.argmax(dim=-1)
            predictions, references = accelerator.gather_for_metrics((predictions, batch["labels"]))
            metric.add_batch(predictions=predictions, references=references)
        accelerator.print(f"epoch {epoch}:", metric.compute())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mixed_precision", type=str, default=None, choices=["no", "fp16", "bf16"])
    args = parser.parse_args()
    config = {"lr": 3e-5, "num_epochs": 3, "seed": 42, "batch_size": 64}
    training_function(config, args)


if __name__ == "__main__":
    main()
