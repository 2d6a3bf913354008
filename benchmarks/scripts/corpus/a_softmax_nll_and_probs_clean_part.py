import argparse
import torch
import torch.nn.functional as F
from torch import nn


class Tagger(nn.Module):
    def __init__(self, vocab, tags, dim=100):
        super(Tagger, self).__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.lstm = nn.LSTM(dim, dim, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(2 * dim, tags)

    def forward(self, sentence):
        out, _ = self.lstm(self.emb(sentence))
        return self.hidden2tag(out)


def train_nll(model, data, opt):
    """Negative log likelihood by hand."""
    loss_function = nn.NLLLoss(ignore_index=0)
    for words, tags in data:
        scores = F.softmax(model(words), dim=-1)
        loss = loss_function(scores.transpose(1, 2), tags)  # expect: NA501
        opt.zero_grad()
        loss.backward()
        opt.step()


def train_ce(model, data, opt):
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    confident = n = 0
    for words, tags in data:
        logits = model(words)
        loss = criterion(logits.transpose(1, 2), tags)
        probs = torch.softmax(logits, -1)
        confident += (probs.amax(-1) > .9).sum().item()
        n += tags.numel()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return confident / n


def train_log_probs(model, data, opt):
    for words, tags in data:
        log_probs = F.log_softmax(model(words), dim=-1)
        loss = F.nll_loss(log_probs.transpose(1, 2), tags, ignore_index=0)
        opt.zero_grad()
        loss.backward()
        opt.step()


if __name__ == '__main__':
    from conll import batches, n_tags, n_words
    ap = argparse.ArgumentParser()
    ap.add_argument('--loss', choices=['nll', 'ce', 'log'], default='nll')
    a = ap.parse_args()
    tagger = Tagger(n_words, n_tags)
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
    step = {'nll': train_nll, 'ce': train_ce, 'log': train_log_probs}[a.loss]
    for epoch in range(30):
        print(epoch, step(tagger, batches(), optimizer))
