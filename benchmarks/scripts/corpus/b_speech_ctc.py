import os
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchaudio
from torch.utils.data import DataLoader
from text import TextTransform, cer, greedy_decode

train_audio_transforms = nn.Sequential(
    torchaudio.transforms.MelSpectrogram(sample_rate=16000, n_mels=128),
    torchaudio.transforms.FrequencyMasking(freq_mask_param=30),
    torchaudio.transforms.TimeMasking(time_mask_param=100))
valid_audio_transforms = torchaudio.transforms.MelSpectrogram()
text_transform = TextTransform()


class CNNLayerNorm(nn.Module):
    def __init__(self, n_feats):
        super().__init__()
        self.layer_norm = nn.LayerNorm(n_feats)

    def forward(self, x):
        return self.layer_norm(x.transpose(2, 3).contiguous()).transpose(2, 3).contiguous()


class ResidualCNN(nn.Module):
    def __init__(self, ch, dropout, n_feats):
        super().__init__()
        self.cnn = nn.Conv2d(ch, ch, 3, 1, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.norm = CNNLayerNorm(n_feats)

    def forward(self, x):
        return self.cnn(self.dropout(F.gelu(self.norm(x)))) + x


class SpeechRecognitionModel(nn.Module):
    def __init__(self, n_cnn_layers, rnn_dim, n_class, n_feats, dropout=0.1):
        super().__init__()
        self.cnn = nn.Conv2d(1, 32, 3, stride=2, padding=1)
        self.rescnn = nn.Sequential(*[ResidualCNN(32, dropout, n_feats // 2) for _ in range(n_cnn_layers)])
        self.rnn = nn.GRU(32 * n_feats // 2, rnn_dim, 3, batch_first=True, bidirectional=True)
        self.classifier = nn.Sequential(nn.Linear(rnn_dim * 2, rnn_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(rnn_dim, n_class))

    def forward(self, x):
        x = self.rescnn(self.cnn(x)).flatten(1, 2).transpose(1, 2)
        return self.classifier(self.rnn(x)[0])


def data_processing(data, kind):
    tf = train_audio_transforms if kind == 'train' else valid_audio_transforms
    specs = [tf(w).squeeze(0).transpose(0, 1) for (w, *_) in data]
    labels = [torch.Tensor(text_transform.text_to_int(u.lower())) for (_, _, u, *_) in data]
    il = [s.shape[0] // 2 for s in specs]
    ll = [len(l) for l in labels]
    specs = nn.utils.rnn.pad_sequence(specs, batch_first=True).unsqueeze(1).transpose(2, 3)
    return specs, nn.utils.rnn.pad_sequence(labels, batch_first=True), il, ll


class Runner:
    def __init__(self, hparams, device):
        self.device = device
        self.model = SpeechRecognitionModel(3, 512, 29, 128).to(device)
        self.criterion = nn.CTCLoss(blank=28)
        self.optimizer = torch.optim.Adam(self.model.parameters(), hparams['lr'])

    def _step(self, batch):
        spec, labels, il, ll = batch
        out = F.log_softmax(self.model(spec.to(self.device)), dim=2).transpose(0, 1)
        return out, self.criterion(out, labels.to(self.device), il, ll)

    def fit_epoch(self, loader, epoch):
        self.model.train()
        for i, batch in enumerate(loader):
            self.optimizer.zero_grad()
            _, loss = self._step(batch)
            loss.backward()
            self.optimizer.step()

    def test(self, loader):
        self.model.eval()
        scores, total = [], 0
        with torch.no_grad():
            for batch in loader:
                out, loss = self._step(batch)
                total += loss.item() / len(loader)
                hyp, ref = greedy_decode(out.transpose(0, 1), batch[1], batch[3])
                scores += [cer(r, h) for r, h in zip(ref, hyp)]
        print('avg loss {:.4f} cer {:.4f}'.format(total, sum(scores) / len(scores)))


if __name__ == '__main__':
    hp = {'lr': 5e-4, 'batch_size': 20, 'epochs': 10}
    os.makedirs('./data', exist_ok=True)
    tr = torchaudio.datasets.LIBRISPEECH('./data', url='train-clean-100', download=True)
    te = torchaudio.datasets.LIBRISPEECH('./data', url='test-clean', download=True)
    tr = DataLoader(tr, hp['batch_size'], shuffle=True, collate_fn=lambda x: data_processing(x, 'train'))
    te = DataLoader(te, hp['batch_size'], collate_fn=lambda x: data_processing(x, 'valid'))
    r = Runner(hp, torch.device('cuda'))
    for epoch in range(hp['epochs']):
        r.fit_epoch(tr, epoch)
        r.test(te)
