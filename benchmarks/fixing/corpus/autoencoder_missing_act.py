# mistakes: NA106 encoder/decoder linears without activation between (list of Linear), NA102 none; models: AE(); input: 8x64
import torch
from torch import nn


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 128),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 8),
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 128), nn.ReLU(),
            nn.Linear(128, 128), nn.Linear(128, 64),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))
