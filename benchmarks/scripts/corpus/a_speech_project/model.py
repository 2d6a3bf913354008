import torch.nn as nn
import torch.nn.functional as F


class CNNLayerNorm(nn.Module):
    def __init__(self, n_feats):
        super().__init__()
        self.layer_norm = nn.LayerNorm(n_feats)

    def forward(self, x):
        return self.layer_norm(x.transpose(2, 3).contiguous()).transpose(2, 3).contiguous()


class ResidualCNN(nn.Module):
    def __init__(self, channels, kernel, dropout, n_feats):
        super().__init__()
        self.cnn1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.dropout1 = nn.Dropout(dropout)
        self.layer_norm1 = CNNLayerNorm(n_feats)

    def forward(self, x):
        return x + self.cnn1(self.dropout1(F.gelu(self.layer_norm1(x))))


class SpeechRecognitionModel(nn.Module):
    def __init__(self, n_cnn_layers, rnn_dim, n_class, n_feats, dropout=0.1):
        super().__init__()
        n_feats = n_feats // 2
        self.cnn = nn.Conv2d(1, 32, 3, stride=2, padding=1)
        self.rescnn_layers = nn.Sequential(*[ResidualCNN(32, 3, dropout, n_feats) for _ in range(n_cnn_layers)])
        self.fully_connected = nn.Linear(n_feats * 32, rnn_dim)
        self.birnn = nn.GRU(rnn_dim, rnn_dim, num_layers=3, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(rnn_dim * 2, n_class)

    def forward(self, x):
        x = self.rescnn_layers(self.cnn(x))
        b, c, f, t = x.shape
        x = self.fully_connected(x.reshape(b, c * f, t).transpose(1, 2))
        return self.classifier(self.birnn(x)[0])
