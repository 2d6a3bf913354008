import math
import random

import torch
from torch import nn
from torch.nn import functional as F


class GPT(nn.Module):
    def __init__(self, vocab, block, d=384, n=6, p=.2):
        super().__init__()
        self.block = block
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(block, d)
        self.drop = nn.Dropout(p)
        layer = lambda: nn.TransformerEncoderLayer(d, n, 4 * d, p, activation='gelu', batch_first=True, norm_first=True)
        self.layers = nn.ModuleList(layer() for _ in range(n))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, idx, targets=None):
        T = idx.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(T, device=idx.device)
        x = self.drop(self.tok(idx) + self.pos(torch.arange(T, device=idx.device)))
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        logits = self.head(self.ln(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


data = torch.load('tokens.pt')
cut = int(.9 * len(data))
splits = {'train': data[:cut], 'val': data[cut:]}
block, batch, device = 256, 64, 'cuda'


def get_batch(split):
    d = splits[split]
    ix = torch.randint(len(d) - block, (batch,))
    return torch.stack([d[i:i + block] for i in ix]).to(device), torch.stack([d[i + 1:i + 1 + block] for i in ix]).to(device)


@torch.no_grad()
def estimate_loss(eval_iters=200, limit=None):
    out = {}
    model.eval()  # expect: NA402
    for split in splits:
        losses = torch.zeros(eval_iters)
        for k in range(eval_iters):
            losses[k] = model(*get_batch(split))[1].item()
        out[split] = losses.mean()
        if limit is not None and out[split] > limit:
            return out  # diverged
        if math.isnan(out[split]):
            raise FloatingPointError
    return out


@torch.no_grad()
def generate(n):
    was = model.training
    model.eval()
    idx = torch.zeros((1, 1), dtype=torch.long, device=device)
    for _ in range(n):
        logits, _ = model(idx[:, -block:])
        idx = torch.cat((idx, torch.multinomial(F.softmax(logits[:, -1], -1), 1)), 1)
    model.train(was)
    return idx[0].tolist()


random.seed(1337)
model = GPT(int(data.max()) + 1, block).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.)
for it in range(5000):
    if it % 500 == 0:
        losses = estimate_loss()
        print(f"step {it}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    _, loss = model(*get_batch('train'))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
print(generate(500))
