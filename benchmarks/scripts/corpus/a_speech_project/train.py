import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader

from data import LibriSpeech, collate, decode, wer
from model import SpeechRecognitionModel


class IterMeter(object):
    def __init__(self):
        self.val = 0

    def step(self):
        self.val += 1


def train(model, device, train_loader, criterion, optimizer, scheduler, epoch, iter_meter):
    for batch_idx, (spectrograms, labels, input_lengths, label_lengths) in enumerate(train_loader):
        spectrograms, labels = spectrograms.to(device), labels.to(device)
        optimizer.zero_grad()
        output = model(spectrograms)
        output = F.log_softmax(output, dim=2).transpose(0, 1)
        loss = criterion(output, labels, input_lengths, label_lengths)
        loss.backward()
        optimizer.step()
        scheduler.step()
        iter_meter.step()
        if batch_idx % 100 == 0:
            print('Train Epoch: {} Loss: {:.6f}'.format(epoch, loss.item()))


def test(model, device, test_loader, criterion):
    model.eval()  # expect: NA402
    test_loss, scores = 0, []
    with torch.no_grad():
        for spectrograms, labels, input_lengths, label_lengths in test_loader:
            output = model(spectrograms.to(device))
            output = F.log_softmax(output, dim=2).transpose(0, 1)
            test_loss += criterion(output, labels.to(device), input_lengths, label_lengths).item() / len(test_loader)
            for pred, target in zip(*decode(output.transpose(0, 1), labels, label_lengths)):
                scores.append(wer(target, pred))
    print('Test set: loss {:.4f} WER {:.4f}'.format(test_loss, sum(scores) / len(scores)))


def main(learning_rate=5e-4, batch_size=20, epochs=10):
    hparams = {"n_cnn_layers": 3, "rnn_dim": 512, "n_class": 29, "n_feats": 128, "dropout": 0.1}
    device = torch.device("cuda")
    train_loader = DataLoader(LibriSpeech('train-clean-100'), batch_size=batch_size, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(LibriSpeech('test-clean'), batch_size=batch_size, collate_fn=collate)
    model = SpeechRecognitionModel(**hparams).to(device)
    optimizer = optim.AdamW(model.parameters(), learning_rate, weight_decay=0.)
    criterion = nn.CTCLoss(blank=28).to(device)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, steps_per_epoch=len(train_loader), epochs=epochs)
    iter_meter = IterMeter()
    for epoch in range(1, epochs + 1):
        train(model, device, train_loader, criterion, optimizer, scheduler, epoch, iter_meter)
        test(model, device, test_loader, criterion)
    torch.save(model.state_dict(), 'asr.pt')


if __name__ == '__main__':
    main()
