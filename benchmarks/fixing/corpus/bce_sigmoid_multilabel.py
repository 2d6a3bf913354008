# mistakes: NA502 sigmoid then BCEWithLogitsLoss inside the model; models: MultiLabelNet(); input: 4x32
import torch
from torch import nn


class MultiLabelNet(nn.Module):
    def __init__(self, in_dim=32, n_labels=6):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(in_dim, 64), nn.ReLU(), nn.Dropout(0.2))
        self.classifier = nn.Linear(64, n_labels)
        self.loss_fct = nn.BCEWithLogitsLoss()

    def forward(self, x, labels=None):
        logits = torch.sigmoid(self.classifier(self.trunk(x)))
        if labels is not None:
            return self.loss_fct(logits, labels.float()), logits
        return logits


def step(model, opt, x, y):
    opt.zero_grad()
    loss, _ = model(x, labels=y)
    loss.backward()
    opt.step()


def main():
    model = MultiLabelNet()
    opt = torch.optim.AdamW(model.parameters())
    model.train()
    for _ in range(3):
        step(model, opt, torch.randn(4, 32), torch.rand(4, 6) > 0.5)


if __name__ == "__main__":
    main()
