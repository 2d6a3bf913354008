# mistakes: NA102 in the linears ModuleList, NA106 fc/out back to back; models: DeepMLP(); input: 8x16
import torch
import torch.nn as nn


class DeepMLP(nn.Module):
    def __init__(self, in_dim=16, hidden=[32, 32, 64], out_dim=4):
        super().__init__()
        dims = [in_dim] + hidden
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in dims[1:])
        self.fc = nn.Linear(hidden[-1], 128)
        self.out = nn.Linear(128, out_dim)

    def forward(self, x):
        for lin, norm in zip(self.linears, self.norms):
            x = torch.relu(norm(lin(x)))
        return self.out(self.fc(x))
