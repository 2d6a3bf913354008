import dataclasses
import sys

import numpy as np
import torch
import torch.nn as nn
from datasets import load_dataset
from sklearn.metrics import accuracy_score, matthews_corrcoef
from transformers import (AutoModel, AutoTokenizer, DataCollatorWithPadding, HfArgumentParser, Trainer, TrainingArguments)


@dataclasses.dataclass
class ModelArguments:
    model_name: str = dataclasses.field(default="microsoft/deberta-v3-small")
    dropout: float = dataclasses.field(default=0.1)


class PairClassifier(nn.Module):
    """Encoder plus a two layer head with batch norm."""

    def __init__(self, name, num_labels, dropout):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(name)
        h = self.encoder.config.hidden_size
        self.head = nn.Sequential(nn.Linear(h, h), nn.BatchNorm1d(h), nn.Tanh(), nn.Dropout(dropout), nn.Linear(h, num_labels))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, input_ids, attention_mask, token_type_ids=None, labels=None):
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-6)
        logits = self.head(pooled)
        loss = self.loss(logits, labels) if labels is not None else None
        return {"loss": loss, "logits": logits}


def compute_metrics(pred):
    y = pred.label_ids
    p = np.argmax(pred.predictions, axis=-1)
    return {"acc": accuracy_score(y, p), "mcc": matthews_corrcoef(y, p)}


class SmoothTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(outputs["logits"], labels, label_smoothing=0.1)
        return (loss, outputs) if return_outputs else loss


def main():
    model_args, training_args = HfArgumentParser((ModelArguments, TrainingArguments)).parse_args_into_dataclasses(sys.argv[1:])
    ds = load_dataset("glue", "mrpc")
    tok = AutoTokenizer.from_pretrained(model_args.model_name)
    ds = ds.map(lambda r: tok(r["sentence1"], r["sentence2"], truncation=True), batched=True)
    model = PairClassifier(model_args.model_name, 2, model_args.dropout)
    trainer = SmoothTrainer(model=model, args=training_args, train_dataset=ds["train"], eval_dataset=ds["validation"],
                            data_collator=DataCollatorWithPadding(tok), compute_metrics=compute_metrics)
    trainer.train()
    print(trainer.evaluate())
    out = trainer.predict(ds["test"])
    np.save("test_pred.npy", out.predictions.argmax(-1))
    torch.save(model.state_dict(), training_args.output_dir + "/model.pt")


if __name__ == "__main__":
    main()
