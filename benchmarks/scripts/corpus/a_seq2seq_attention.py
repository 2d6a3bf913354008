import random
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader

from lang import EOS_token, MAX_LENGTH, SOS_token, prepare

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, dropout_p=0.1):
        super(EncoderRNN, self).__init__()
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input):
        return self.gru(self.dropout(self.embedding(input)))


class DecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size):
        super(DecoderRNN, self).__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, encoder_outputs, hidden, target=None):
        token = torch.full((encoder_outputs.size(0), 1), SOS_token, dtype=torch.long, device=device)
        outputs = []
        for i in range(MAX_LENGTH):
            o, hidden = self.gru(F.relu(self.embedding(token)), hidden)
            o = self.out(o)
            outputs.append(o)
            token = target[:, i].unsqueeze(1) if target is not None else o.argmax(-1).detach()
        return F.log_softmax(torch.cat(outputs, dim=1), dim=-1), hidden


def train_epoch(dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion):
    total_loss = 0
    for input_tensor, target_tensor in dataloader:
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        encoder_outputs, encoder_hidden = encoder(input_tensor)
        decoder_outputs, _ = decoder(encoder_outputs, encoder_hidden, target_tensor)
        loss = criterion(decoder_outputs.view(-1, decoder_outputs.size(-1)), target_tensor.view(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        total_loss += loss.item()
    return total_loss / len(dataloader)


def evaluate(encoder, decoder, tensor, output_lang):
    with torch.no_grad():
        encoder_outputs, encoder_hidden = encoder(tensor)  # expect: NA401
        decoder_outputs, _ = decoder(encoder_outputs, encoder_hidden)
        words = []
        for idx in decoder_outputs.argmax(-1).squeeze():
            if idx.item() == EOS_token:
                words.append('<EOS>')
                break
            words.append(output_lang.index2word[idx.item()])
    return words


def main(hidden_size=128, n_epochs=80):
    input_lang, output_lang, pairs, dataset = prepare('eng', 'fra', device)
    dataloader = DataLoader(dataset, batch_size=32, shuffle=True)
    encoder = EncoderRNN(input_lang.n_words, hidden_size).to(device)
    decoder = DecoderRNN(hidden_size, output_lang.n_words).to(device)
    encoder_optimizer, decoder_optimizer = (optim.Adam(m.parameters(), lr=1e-3) for m in (encoder, decoder))
    criterion = nn.NLLLoss()
    start = time.time()
    for epoch in range(1, n_epochs + 1):
        loss = train_epoch(dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion)
        if epoch % 5 == 0:
            print('%.0fs (%d %d%%) %.4f' % (time.time() - start, epoch, epoch / n_epochs * 100, loss))
            src, tensor, ref = random.choice(pairs)
            print('>', src, '=', ref, '<', ' '.join(evaluate(encoder, decoder, tensor, output_lang)))


main()
