"""Transfer in two stages: head first, then everything."""
import argparse
import logging

import timm
import torch
from torch import nn
from tqdm import trange

log = logging.getLogger("stages")


class History(dict):
    def put(self, **values):
        for k, v in values.items():
            self.setdefault(k, []).append(v)


def set_trainable(model, flag, head="head"):
    for name, p in model.named_parameters():
        p.requires_grad_(flag or name.startswith(head))


def fit(model, train, val, epochs, lr, device, history):
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=lr)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    for epoch in trange(epochs):
        for x, y in train:
            loss = loss_fn(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        history.put(loss=loss.item())
    model.eval()  # expect: NA402
    with torch.no_grad():
        acc = [(model(x.to(device)).argmax(1) == y.to(device)).float().mean().item() for x, y in val]
    history.put(acc=sum(acc) / len(acc))
    log.info("accuracy %.4f after %d epochs", history["acc"][-1], epochs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="swin_tiny_patch4_window7_224")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    logging.basicConfig(level="INFO")
    from leaves import train, val
    model = timm.create_model(args.arch, pretrained=True, num_classes=38, drop_rate=0.2, drop_path_rate=0.1).to(args.device)
    history = History()
    set_trainable(model, False)
    fit(model, train, val, 3, 1e-3, args.device, history)
    set_trainable(model, True)
    fit(model, train, val, 20, 5e-5, args.device, history)
    torch.save({"model": model.state_dict(), "history": dict(history)}, "leaves.pt")


if __name__ == "__main__":
    main()
