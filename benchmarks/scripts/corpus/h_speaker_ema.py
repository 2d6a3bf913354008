import copy
import hydra
import torch
import torchaudio
from omegaconf import DictConfig
from torch import nn

from voxceleb import eer, trial_loader, utterances


class TDNN(nn.Sequential):
    def __init__(self, i, o, k, d):
        super().__init__(nn.Conv1d(i, o, k, dilation=d), nn.ReLU(), nn.BatchNorm1d(o))


class XVector(nn.Module):
    def __init__(self, n_mels=40, emb=256):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(n_mels=n_mels)
        self.frame = nn.Sequential(TDNN(n_mels, 512, 5, 1), TDNN(512, 512, 3, 2), TDNN(512, 1500, 1, 1))
        self.seg = nn.Linear(3000, emb)

    def forward(self, wav):
        h = self.frame(self.mel(wav).clamp_min(1e-6).log())
        return self.seg(torch.cat([h.mean(-1), h.std(-1)], 1))


class ModelEma:
    def __init__(self, model, decay):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for e, m in zip(self.module.state_dict().values(), model.state_dict().values()):
            e.copy_(e * self.decay + m * (1 - self.decay))


def embed_trials(net, loader, device):
    sims, same = [], []
    with torch.no_grad():
        for a, b, y in loader:
            ea, eb = net(a.to(device)), net(b.to(device))  # expect: NA401
            sims.append(nn.functional.cosine_similarity(ea, eb).cpu())
            same.append(y)
    return torch.cat(sims), torch.cat(same)


@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg: DictConfig):
    device = torch.device(cfg.device)
    train, n_spk = utterances(cfg.root, batch_size=128, drop_last=True)
    net, head = XVector().to(device), nn.Linear(256, n_spk).to(device)
    ema = ModelEma(net, cfg.decay)
    opt = torch.optim.Adam([*net.parameters(), *head.parameters()], cfg.lr)
    for epoch in range(cfg.epochs):
        for wav, spk in train:
            loss = nn.functional.cross_entropy(head(net(wav.to(device))), spk.to(device))
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update(net)
        # the averaged copy is always in eval mode, the live one is not
        print(epoch, "ema", eer(*embed_trials(ema.module, trial_loader(cfg.root), device)))
        print(epoch, "raw", eer(*embed_trials(net, trial_loader(cfg.root), device)))
    torch.save(ema.module.state_dict(), "xvector.pt")


if __name__ == "__main__":
    main()
