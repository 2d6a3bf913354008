# input: 4x8
import torch
from torch import nn


class Net(nn.Module):
	def __init__(self):
		super().__init__()
		self.fc = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

	def forward(self, x):
		# Every layer with its own gate; "schön" stands for what is no ASCII.
		for layer in self.fc:
			h = layer(x); gate = torch.sigmoid(h)
			x = h * gate
		if x.ndim == 2: y = x / (1 + torch.exp(-x)); return y
		return x
