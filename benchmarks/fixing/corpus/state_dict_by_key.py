# mistakes: NA110 self.extra_norm, NA102 at the stem, whose bias init_weights sets and load_pretrained names; models: Loader(); input: 4x3x16x16
import torch
import torch.nn as nn


def load_pretrained(model, state):
    for key in ("stem.weight", "stem.bias", "fc.weight"):
        if key in state:
            model.state_dict()[key].copy_(state[key])
    return model


class Loader(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 3)
        self.extra_norm = nn.LayerNorm(8)
        self.init_weights()

    def init_weights(self):
        self.stem.bias.data.zero_()
        nn.init.normal_(self.fc.weight, std=0.01)

    def forward(self, x):
        return self.fc(self.bn(self.stem(x)).relu().mean((2, 3)))
