import argparse

import evaluate
import numpy as np
import torch
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

seqeval = evaluate.load("seqeval")


class WeightedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weight = torch.ones(model.config.num_labels, device=labels.device)
        weight[0] = 0.2
        loss = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), weight, ignore_index=-100)
        return (loss, outputs) if return_outputs else loss


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default="distilbert-base-cased")
    ap.add_argument("--from-scratch", action="store_true")
    args = ap.parse_args()
    raw = load_dataset("conll2003")
    names = raw["train"].features["ner_tags"].feature.names
    tok = AutoTokenizer.from_pretrained(args.model)
    if args.from_scratch:
        model = AutoModelForTokenClassification.from_config(AutoConfig.from_pretrained(args.model, num_labels=len(names)))
    else:
        model = AutoModelForTokenClassification.from_pretrained(args.model, num_labels=len(names))

    def align(ex):
        enc = tok(ex["tokens"], truncation=True, is_split_into_words=True)
        enc["labels"] = [[-100 if w is None else tags[w] for w in enc.word_ids(i)] for i, tags in enumerate(ex["ner_tags"])]
        return enc

    def compute_metrics(p):
        pred = np.argmax(p.predictions, axis=2)
        keep = p.label_ids != -100
        gold = [[names[t] for t in row[m]] for row, m in zip(p.label_ids, keep)]
        hyp = [[names[t] for t in row[m]] for row, m in zip(pred, keep)]
        return {"f1": seqeval.compute(predictions=hyp, references=gold)["overall_f1"]}

    data = raw.map(align, batched=True)
    targs = TrainingArguments("ner", eval_strategy="epoch", learning_rate=2e-5, num_train_epochs=3, weight_decay=0.01)
    trainer = WeightedTrainer(model=model, args=targs, train_dataset=data["train"], eval_dataset=data["validation"],
                              data_collator=DataCollatorForTokenClassification(tok), compute_metrics=compute_metrics)
    trainer.train()
    print(trainer.evaluate(data["test"]))
    print(trainer.predict(data["test"]).metrics)


if __name__ == "__main__":
    main()
