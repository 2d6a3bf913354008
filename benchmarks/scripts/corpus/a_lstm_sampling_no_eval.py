# char-rnn: python a_lstm_sampling_no_eval.py input.txt
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

text = open(sys.argv[1]).read()
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
itos = chars
ids = np.array([stoi[c] for c in text])


class CharRNN(nn.Module):
    def __init__(self, n, hidden=256):
        super().__init__()
        self.emb = nn.Embedding(n, 64)
        self.lstm = nn.LSTM(64, hidden, num_layers=2, dropout=0.3, batch_first=True)
        self.out = nn.Linear(hidden, n)

    def forward(self, x, state=None):
        y, state = self.lstm(self.emb(x), state)
        return self.out(y), state


def batches(seq=100, bs=32):
    while True:
        idx = np.random.randint(0, len(ids) - seq - 1, bs)
        x = np.stack([ids[i:i + seq] for i in idx])
        y = np.stack([ids[i + 1:i + seq + 1] for i in idx])
        yield torch.from_numpy(x), torch.from_numpy(y)


def sample(model, prime='The ', size=400, temperature=.8):
    out = list(prime)
    state = None
    with torch.no_grad():
        x = torch.tensor([[stoi[c] for c in prime]])
        for _ in range(size):
            logits, state = model(x, state)  # expect: NA401
            p = F.softmax(logits[0, -1] / temperature, dim=-1)
            nxt = torch.multinomial(p, 1).item()
            out.append(itos[nxt])
            x = torch.tensor([[nxt]])
    return ''.join(out)


net = CharRNN(len(chars))
opt = torch.optim.Adam(net.parameters(), 2e-3)
gen = batches()
step = 0
while step < 20000:
    x, y = next(gen)
    logits, _ = net(x)
    loss = F.cross_entropy(logits.reshape(-1, len(chars)), y.reshape(-1))
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 5.)
    opt.step()
    step += 1
    if step % 500 == 0:
        print(step, loss.item())
        print(sample(net))
