"""Watches the Trainer of transformers: it clips gradients before its callbacks see them, and the norms written down are still those before clipping."""

import sys

import torch
from torch import nn


class TagNet(nn.Module):
    """Marks, in a row of tokens, those that were seen before; takes and gives what the Trainer wants."""

    def __init__(self, vocabulary: int = 32, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=128, batch_first=True, norm_first=True), num_layers=2, enable_nested_tensor=False
        )
        self.head = nn.Linear(width, 2)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.head(self.encoder(self.embedding(input_ids)))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def rows(count: int) -> list[dict[str, torch.Tensor]]:
    tokens = torch.randint(0, 32, (count, 16))
    seen = torch.stack([torch.stack([(row[:index] == row[index]).any() for index in range(16)]) for row in tokens])
    return [{"input_ids": row, "labels": labels.long()} for row, labels in zip(tokens, seen, strict=True)]


def main(folder: str = "tagging") -> None:
    from transformers import Trainer, TrainingArguments

    from normadvisor.integrations.transformers import NormAdvisorTrainerCallback

    torch.manual_seed(0)
    watching = NormAdvisorTrainerCallback(every=20, log=f"tensorboard:{folder}")
    arguments = TrainingArguments(
        output_dir=folder, max_steps=60, per_device_train_batch_size=16, gradient_accumulation_steps=2, max_grad_norm=0.1, learning_rate=1e-3,
        use_cpu=True, report_to=[], save_strategy="no",
    )  # fmt: skip
    Trainer(TagNet(), arguments, train_dataset=rows(512), callbacks=[watching]).train()
    print(watching.report())


if __name__ == "__main__":
    main(*sys.argv[1:])
