from dataclasses import dataclass, field

import evaluate
import numpy as np
from datasets import load_dataset
from transformers import (AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification, HfArgumentParser, Trainer,
                          TrainingArguments, set_seed)


@dataclass
class ModelArguments:
    model_name_or_path: str = field(default="dslim/bert-base-NER")
    dataset: str = field(default="conll2003")


def main():
    parser = HfArgumentParser((ModelArguments, TrainingArguments))
    margs, targs = parser.parse_args_into_dataclasses()
    set_seed(targs.seed)
    raw = load_dataset(margs.dataset)
    names = raw["train"].features["ner_tags"].feature.names
    tokenizer = AutoTokenizer.from_pretrained(margs.model_name_or_path)
    model = AutoModelForTokenClassification.from_pretrained(margs.model_name_or_path, num_labels=len(names))
    metric = evaluate.load("seqeval")

    def tokenize(examples):
        enc = tokenizer(examples["tokens"], truncation=True, is_split_into_words=True)
        enc["labels"] = []
        for i, tags in enumerate(examples["ner_tags"]):
            previous, ids = None, []
            for w in enc.word_ids(batch_index=i):
                ids.append(-100 if w is None or w == previous else tags[w])
                previous = w
            enc["labels"].append(ids)
        return enc

    def compute_metrics(p):
        predictions = np.argmax(p.predictions, axis=2)
        true_p = [[names[a] for a, b in zip(row, lab) if b != -100] for row, lab in zip(predictions, p.label_ids)]
        true_l = [[names[b] for b in lab if b != -100] for lab in p.label_ids]
        r = metric.compute(predictions=true_p, references=true_l)
        return {"f1": r["overall_f1"], "accuracy": r["overall_accuracy"]}

    data = raw.map(tokenize, batched=True)
    trainer = Trainer(model=model, args=targs, train_dataset=data["train"], eval_dataset=data["validation"],
                      data_collator=DataCollatorForTokenClassification(tokenizer), compute_metrics=compute_metrics)
    if targs.do_train:
        trainer.train()
        trainer.save_model()
    if targs.do_eval:
        print(trainer.evaluate())
    out = trainer.predict(data["test"])
    print(out.metrics)
    text = tokenizer("Angela flew to Paris", return_tensors="pt").to(model.device)
    print([names[i] for i in model.eval()(**text).logits.argmax(-1)[0].tolist()])


if __name__ == "__main__":
    main()
