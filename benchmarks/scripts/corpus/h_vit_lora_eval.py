import evaluate
import numpy as np
import torch
from datasets import load_dataset
from torch.optim import Adam
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, ViTForImageClassification


class Food:
    def __init__(self, split, processor):
        self.ds, self.p = load_dataset("food101", split=split), processor

    def __len__(self):
        return len(self.ds)

    def __getitem__(self, i):
        row = self.ds[i]
        return self.p(row["image"].convert("RGB"), return_tensors="pt")["pixel_values"][0], row["label"]


class Task:
    def __init__(self, ckpt="google/vit-base-patch16-224-in21k", lr=5e-5):
        self.proc = AutoImageProcessor.from_pretrained(ckpt)
        self.net = ViTForImageClassification.from_pretrained(ckpt, num_labels=101, hidden_dropout_prob=0.1).cuda()
        self.opt = Adam(self.net.parameters(), lr=lr)
        self.metric = evaluate.load("accuracy")

    def one_epoch(self, dl):
        bar = tqdm(dl)
        for px, y in bar:
            out = self.net(pixel_values=px.cuda(), labels=y.cuda())
            self.opt.zero_grad()
            out.loss.backward()
            self.opt.step()  # expect: NA405
            bar.set_description(f"{out.loss.item():.3f}")

    @torch.inference_mode()
    def report(self, dl):
        for px, y in dl:
            pred = self.net(pixel_values=px.cuda()).logits.argmax(-1)
            self.metric.add_batch(predictions=pred.cpu(), references=y)
        return self.metric.compute()

    def main(self, epochs=3):
        tr = DataLoader(Food("train", self.proc), 32, shuffle=True, num_workers=4)
        va = DataLoader(Food("validation", self.proc), 64, num_workers=4)
        for e in range(epochs):
            self.one_epoch(tr)
            print(e, self.report(va))
        self.net.save_pretrained("vit-food")


if __name__ == "__main__":
    np.random.seed(0)
    torch.manual_seed(0)
    Task().main()
