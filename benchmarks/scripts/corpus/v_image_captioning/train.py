import argparse
import os
import pickle

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence

from data_loader import get_loader
from model import DecoderRNN, EncoderCNN

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main(args):
    os.makedirs("models", exist_ok=True)
    with open("data/vocab.pkl", "rb") as f:
        vocab = pickle.load(f)
    data_loader = get_loader("data/resized2014", vocab, args.batch_size, shuffle=True)
    encoder = EncoderCNN(256).to(device)
    decoder = DecoderRNN(256, 512, len(vocab)).to(device)
    criterion = nn.CrossEntropyLoss()
    params = list(decoder.parameters()) + list(encoder.linear.parameters()) + list(encoder.bn.parameters())
    optimizer = torch.optim.Adam(params, lr=0.001)
    for epoch in range(args.num_epochs):
        for i, (images, captions, lengths) in enumerate(data_loader):
            images, captions = images.to(device), captions.to(device)
            targets = pack_padded_sequence(captions, lengths, batch_first=True)[0]
            features = encoder(images)  # allow: NA210 NA404
            outputs = pack_padded_sequence(decoder(features, captions[:, :-1]), lengths, batch_first=True)[0]
            loss = criterion(outputs, targets)
            decoder.zero_grad()
            encoder.zero_grad()
            loss.backward()
            optimizer.step()
            if i % 10 == 0:
                print(epoch, i, loss.item())
            if (i + 1) % 1000 == 0:
                torch.save(decoder.state_dict(), "models/decoder-{}-{}.pkl".format(epoch + 1, i + 1))
                torch.save(encoder.state_dict(), "models/encoder-{}-{}.pkl".format(epoch + 1, i + 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_epochs", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=128)
    main(parser.parse_args())
