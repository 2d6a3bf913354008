import torch
import torch.nn as nn

from basemodel import BaseModel


class FM(nn.Module):
    def forward(self, e):
        return 0.5 * (e.sum(1).pow(2) - e.pow(2).sum(1)).sum(1, keepdim=True)


class DeepFM(BaseModel):
    def __init__(self, field_dims, k=8, hidden=(256, 128), dropout=0.5, use_bn=True, device='cpu'):
        super(DeepFM, self).__init__(device)
        self.register_buffer('offset', torch.tensor([0, *field_dims[:-1]]).cumsum(0))
        self.linear = nn.Embedding(sum(field_dims), 1)
        self.embed = nn.Embedding(sum(field_dims), k)
        self.fm = FM()
        layers, n = [], k * len(field_dims)
        for h in hidden:
            layers.append(nn.Linear(n, h))
            if use_bn:
                layers.append(nn.BatchNorm1d(h))
            layers += [nn.ReLU(), nn.Dropout(dropout)]
            n = h
        self.dnn = nn.Sequential(*layers, nn.Linear(n, 1))
        self.to(device)

    def forward(self, X):
        idx = X.long() + self.offset
        e = self.embed(idx)
        logit = self.linear(idx).sum(1) + self.fm(e) + self.dnn(e.flatten(1))
        return torch.sigmoid(logit)
