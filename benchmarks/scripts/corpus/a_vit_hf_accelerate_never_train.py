from accelerate import Accelerator
from accelerate.utils import set_seed
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from transformers import ViTForImageClassification, ViTImageProcessor, get_cosine_schedule_with_warmup

from pets import Pets


class Collate:
    def __init__(self, name):
        self.processor = ViTImageProcessor.from_pretrained(name)

    def __call__(self, rows):
        images, labels = zip(*rows)
        batch = self.processor(list(images), return_tensors="pt")
        batch["labels"] = torch.tensor(labels)
        return batch


def main(name="google/vit-base-patch16-224-in21k", epochs=4, bs=32, lr=5e-5):
    accelerator = Accelerator(mixed_precision="fp16", log_with="tensorboard", project_dir="logs")
    set_seed(0)
    model = ViTForImageClassification.from_pretrained(name, num_labels=37, hidden_dropout_prob=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    loader = DataLoader(Pets("trainval"), bs, shuffle=True, collate_fn=Collate(name))
    schedule = get_cosine_schedule_with_warmup(optimizer, 50, epochs * len(loader))
    model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
    accelerator.init_trackers("vit")
    step = 0
    for epoch in range(epochs):
        for batch in loader:
            labels = batch.pop("labels")
            logits = model(**batch).logits
            loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()  # expect: NA405
            schedule.step()
            optimizer.zero_grad()
            step += 1
            accelerator.log({"loss": loss.item()}, step=step)
    accelerator.unwrap_model(model).save_pretrained("vit-pets")
    accelerator.end_training()


if __name__ == "__main__":
    main()
