import random
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim

from vocab import SOS, EOS, PAD, load_pairs, batch2train, sentence_to_indexes, normalize

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class EncoderRNN(nn.Module):
    def __init__(self, hidden_size, embedding, n_layers=2, dropout=0.1):
        super(EncoderRNN, self).__init__()
        self.embedding = embedding
        self.gru = nn.GRU(hidden_size, hidden_size, n_layers, dropout=dropout, bidirectional=True)
        self.h = hidden_size

    def forward(self, seq, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(seq), lengths)
        out, hidden = self.gru(packed)
        out, _ = nn.utils.rnn.pad_packed_sequence(out)
        return out[:, :, :self.h] + out[:, :, self.h:], hidden


class LuongDecoder(nn.Module):
    def __init__(self, embedding, hidden_size, output_size, n_layers=2, dropout=0.1):
        super().__init__()
        self.embedding, self.n_layers = embedding, n_layers
        self.embedding_dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(hidden_size, hidden_size, n_layers, dropout=dropout)
        self.concat = nn.Linear(hidden_size * 2, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, step, hidden, enc):
        rnn, hidden = self.gru(self.embedding_dropout(self.embedding(step)), hidden)
        attn = F.softmax(torch.sum(rnn * enc, dim=2).t(), dim=1).unsqueeze(1)
        ctx = attn.bmm(enc.transpose(0, 1)).squeeze(1)
        out = torch.tanh(self.concat(torch.cat((rnn.squeeze(0), ctx), 1)))
        return F.softmax(self.out(out), dim=1), hidden


def mask_nll(inp, target, mask):
    ce = -torch.log(torch.gather(inp, 1, target.view(-1, 1)).squeeze(1))
    return ce.masked_select(mask).mean()


def train_step(batch, encoder, decoder, eopt, dopt, teacher=0.9):
    inp, lengths, target, mask, max_len = batch
    eopt.zero_grad(), dopt.zero_grad()
    enc, hidden = encoder(inp.to(device), lengths.to("cpu"))
    hidden = hidden[:decoder.n_layers]
    step = torch.full((1, inp.size(1)), SOS, device=device)
    loss = 0
    forced = random.random() < teacher
    for t in range(max_len):
        out, hidden = decoder(step, hidden, enc)
        step = target[t].view(1, -1).to(device) if forced else out.topk(1)[1].view(1, -1)
        loss += mask_nll(out, target[t].to(device), mask[t].to(device))
    loss.backward()
    for m in (encoder, decoder):
        nn.utils.clip_grad_norm_(m.parameters(), 50.0)
    eopt.step(), dopt.step()
    return loss.item() / max_len


class GreedySearchDecoder(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, seq, length, max_length):
        enc, hidden = self.encoder(seq, length)
        hidden = hidden[:self.decoder.n_layers]
        inp = torch.ones(1, 1, device=device, dtype=torch.long) * SOS
        tokens = []
        for _ in range(max_length):
            out, hidden = self.decoder(inp, hidden, enc)
            inp = out.max(dim=1)[1].unsqueeze(0)
            tokens.append(inp.item())
        return tokens


def chat(searcher, voc):
    while True:
        line = input('> ')
        if line in ('q', 'quit'):
            break
        idx = torch.LongTensor([sentence_to_indexes(voc, normalize(line))]).transpose(0, 1).to(device)
        words = [voc.index2word[t] for t in searcher(idx, torch.tensor([len(idx)]), 10) if t not in (EOS, PAD)]
        print('Bot:', ' '.join(words))


voc, pairs = load_pairs("movie-corpus")
embedding = nn.Embedding(voc.num_words, 500)
encoder = EncoderRNN(500, embedding).to(device)
decoder = LuongDecoder(embedding, 500, voc.num_words).to(device)
# Ensure dropout layers are in train mode
encoder.train()
decoder.train()
eopt = optim.Adam(encoder.parameters(), lr=1e-4)
dopt = optim.Adam(decoder.parameters(), lr=5e-4)
for iteration in range(1, 4001):
    loss = train_step(batch2train(voc, [random.choice(pairs) for _ in range(64)]), encoder, decoder, eopt, dopt)
    if iteration % 100 == 0:
        print(iteration, loss)
# Set dropout layers to eval mode
encoder.eval()
decoder.eval()
chat(GreedySearchDecoder(encoder, decoder), voc)
