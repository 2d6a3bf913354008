import math

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, default_data_collator

from corpus import packed_dataset

logger = get_logger(__name__)


def main(name="gpt2", block=512, epochs=2, eval_every=200):
    accelerator = Accelerator(gradient_accumulation_steps=4)
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name)
    train = DataLoader(packed_dataset("train", tokenizer, block), shuffle=True, batch_size=4, collate_fn=default_data_collator)
    val = DataLoader(packed_dataset("validation", tokenizer, block), batch_size=4, collate_fn=default_data_collator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0)
    model, optimizer, train, val = accelerator.prepare(model, optimizer, train, val)
    best = math.inf
    done = 0

    def evaluate():
        model.eval()
        losses = []
        for batch in val:
            with torch.no_grad():
                loss = model(**batch).loss
            losses.append(accelerator.gather_for_metrics(loss.repeat(4)))
        model.train()
        mean = torch.cat(losses).mean().item()
        return math.exp(mean) if mean < 20 else float("inf")

    model.train()
    for epoch in range(epochs):
        for batch in train:
            with accelerator.accumulate(model):
                loss = model(**batch).loss
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            done += 1
            if done % eval_every == 0:
                ppl = evaluate()
                logger.info(f"step {done}: perplexity {ppl}")
                if ppl < best:
                    best = ppl
                    accelerator.save_state("best")
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(model).save_pretrained("out")


if __name__ == "__main__":
    main()
