# mistakes: none; models: Seq2Seq(); input: 2x7:int 2x5:int
import torch
import torch.nn as nn
import torch.nn.functional as F


class Seq2Seq(nn.Module):
    def __init__(self, vocab=50, d=16):
        super().__init__()
        self.src_emb, self.tgt_emb = nn.Embedding(vocab, d), nn.Embedding(vocab, d)
        self.enc = nn.GRU(d, d, batch_first=True)
        self.dec = nn.GRU(d, d, batch_first=True)
        self.attn_q = nn.Linear(d, d, bias=False)
        self.combine = nn.Linear(2 * d, d)
        self.generator = nn.Linear(d, vocab)

    def forward(self, src, tgt):
        memory, h = self.enc(self.src_emb(src))
        out, _ = self.dec(self.tgt_emb(tgt), h)
        scores = self.attn_q(out) @ memory.transpose(1, 2)
        ctx = F.softmax(scores / out.size(-1) ** 0.5, -1) @ memory
        out = torch.tanh(self.combine(torch.cat([out, ctx], -1)))
        return self.generator(out)
