import torch
import torch.nn as nn


class BaseTrainer(object):
	"""tabs everywhere, sorry"""

	def __init__(self, model, optimizer, loaders, device):
		self.model = model.to(device)
		self.optimizer = optimizer
		self.loaders = loaders
		self.device = device

	def set_mode(self, mode):
		if mode == 'train':
			self.model.train()
		elif mode in ('val', 'test'):
			self.model.eval()
		else:
			raise ValueError(mode)

	def step(self, batch, training):
		raise NotImplementedError

	def run(self, mode):
		self.set_mode(mode)
		training = mode == 'train'
		stats = []
		for batch in self.loaders[mode]:
			batch = [b.to(self.device) for b in batch]
			if training:
				stats.append(self.step(batch, True))
			else:
				with torch.no_grad():
					stats.append(self.step(batch, False))
		return sum(stats) / max(1, len(stats))

	def fit(self, n):
		for e in range(n):
			tr = self.run('train')
			va = self.run('val')
			print('%d: %.4f %.4f' % (e, tr, va))
		return self.run('test')


class SegTrainer(BaseTrainer):
	def __init__(self, *args, **kw):
		super().__init__(*args, **kw)
		self.criterion = nn.CrossEntropyLoss(ignore_index=255)

	def step(self, batch, training):
		img, mask = batch
		out = self.model(img)
		loss = self.criterion(out, mask)
		if training:
			self.optimizer.zero_grad()
			loss.backward()
			self.optimizer.step()
		return loss.item()


class MiniUNet(nn.Module):
	def __init__(self, c=21):
		super().__init__()
		self.down = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
		self.mid = nn.Sequential(nn.Conv2d(32, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.Dropout2d(.1))
		self.up = nn.ConvTranspose2d(64, 32, 2, 2)
		self.out = nn.Conv2d(32, c, 1)

	def forward(self, x):
		return self.out(torch.relu(self.up(self.mid(self.down(x)))))


def get_loaders():
	from torchvision.datasets import VOCSegmentation
	from torch.utils.data import DataLoader
	return {k: DataLoader(VOCSegmentation('voc', image_set=s), batch_size=8, shuffle=k == 'train', drop_last=k == 'train')
		for k, s in (('train', 'train'), ('val', 'val'), ('test', 'trainval'))}


if __name__ == '__main__':
	net = MiniUNet()
	opt = torch.optim.SGD(net.parameters(), 1e-2, momentum=.9)
	t = SegTrainer(net, opt, get_loaders(), 'cuda')
	print('final', t.fit(30))
