"""Question answering with accelerate: evaluation happens in a helper that saves and restores the mode."""
import argparse
import contextlib

import evaluate as hf_evaluate
import torch
from accelerate import Accelerator
from datasets import load_dataset
from torch.utils.data import DataLoader
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, default_data_collator, get_scheduler

from utils_qa import postprocess_qa_predictions, prepare_train_features, prepare_validation_features


@contextlib.contextmanager
def evaluating(net):
    """Temporarily switch to evaluation mode."""
    istrain = net.training
    try:
        net.eval()
        yield net
    finally:
        if istrain:
            net.train()


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--model_name_or_path", default="bert-base-uncased")
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--gradient_accumulation_steps", type=int, default=4)
    p.add_argument("--eval_steps", type=int, default=500)
    return p.parse_args()


def main():
    args = parse_args()
    accelerator = Accelerator(gradient_accumulation_steps=args.gradient_accumulation_steps)
    raw = load_dataset("squad")
    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path)
    model = AutoModelForQuestionAnswering.from_pretrained(args.model_name_or_path)
    train_ds = raw["train"].map(lambda b: prepare_train_features(b, tokenizer), batched=True, remove_columns=raw["train"].column_names)
    eval_ds = raw["validation"].map(lambda b: prepare_validation_features(b, tokenizer), batched=True)
    train_dl = DataLoader(train_ds, shuffle=True, batch_size=12, collate_fn=default_data_collator)
    eval_dl = DataLoader(eval_ds.remove_columns(["example_id"]), batch_size=12, collate_fn=default_data_collator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, weight_decay=0.0)
    scheduler = get_scheduler("linear", optimizer, 0, args.epochs * len(train_dl))
    model, optimizer, train_dl, eval_dl, scheduler = accelerator.prepare(model, optimizer, train_dl, eval_dl, scheduler)
    metric = hf_evaluate.load("squad")

    def run_eval():
        starts, ends = [], []
        with evaluating(model), torch.no_grad():
            for batch in eval_dl:
                out = model(**batch)
                starts.append(accelerator.gather_for_metrics(out.start_logits).cpu())
                ends.append(accelerator.gather_for_metrics(out.end_logits).cpu())
        preds = postprocess_qa_predictions(raw["validation"], eval_ds, (torch.cat(starts), torch.cat(ends)))
        return metric.compute(predictions=preds.predictions, references=preds.label_ids)

    completed = 0
    model.train()
    for epoch in range(args.epochs):
        for batch in train_dl:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            completed += 1
            if completed % args.eval_steps == 0:
                accelerator.print(run_eval())
    accelerator.print(run_eval())
    accelerator.unwrap_model(model).save_pretrained("squad_out")


if __name__ == "__main__":
    main()
