# fix: remove_layer act2
# fix: swap_layers features.1 features.2
from torch import nn


class Net(nn.Module):
	def __init__(self):
		super().__init__()
		self.features = nn.Sequential(
			nn.Conv2d(3, 4, 3),
			nn.ReLU(),
			nn.BatchNorm2d(4)
		)
		self.act = nn.ReLU()
		self.act2 = nn.ReLU()

	def forward(self, x):
		x = self.act(self.features(x))
		if self.training:
			x = self.act2(x)
		return x
