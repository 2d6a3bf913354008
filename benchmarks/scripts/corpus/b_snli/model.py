import torch
import torch.nn as nn


class Bottle(nn.Module):
    def forward(self, input):
        if len(input.size()) <= 2:
            return super(Bottle, self).forward(input)
        size = input.size()[:2]
        out = super(Bottle, self).forward(input.view(size[0] * size[1], -1))
        return out.view(size[0], size[1], -1)


class Linear(Bottle, nn.Linear):
    pass


class Encoder(nn.Module):
    def __init__(self, config):
        super(Encoder, self).__init__()
        self.config = config
        self.rnn = nn.LSTM(config.d_proj, config.d_hidden, config.n_layers, bidirectional=config.birnn)

    def forward(self, inputs):
        _, (ht, _) = self.rnn(inputs)
        return ht[-2:].transpose(0, 1).contiguous().view(inputs.size(1), -1)


class SNLIClassifier(nn.Module):
    def __init__(self, config):
        super(SNLIClassifier, self).__init__()
        self.embed = nn.Embedding(config.n_embed, config.d_embed)
        self.projection = Linear(config.d_embed, config.d_proj)
        self.encoder = Encoder(config)
        self.dropout = nn.Dropout(p=config.dp_ratio)
        seq_in = 2 * config.d_hidden * 2
        self.out = nn.Sequential(
            Linear(seq_in, seq_in), nn.ReLU(), self.dropout,
            Linear(seq_in, seq_in), nn.ReLU(), self.dropout,
            Linear(seq_in, config.d_out))

    def forward(self, batch):
        premise = self.encoder(self.projection(self.embed(batch.premise)))
        hypothesis = self.encoder(self.projection(self.embed(batch.hypothesis)))
        return self.out(torch.cat([premise, hypothesis], 1))
