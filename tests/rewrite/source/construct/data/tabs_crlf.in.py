# fix: set_argument a bias=False
from torch import nn


class Net(nn.Module):
	def __init__(self):
		super().__init__()
		self.a = nn.Conv2d(
			3,
			8,
			1,
		)

	def forward(self, x):
		return self.a(x)