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
			h = layer(x)
			x = nn.functional.silu(h)
		if x.ndim == 2: y = nn.functional.silu(x); return y
		return x
