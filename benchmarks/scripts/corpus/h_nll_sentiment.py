import spacy
import torch
import torch.nn as nn
import torch.optim as optim
from torchtext.legacy import data, datasets

SEED = 1234
torch.manual_seed(SEED)
TEXT = data.Field(tokenize='spacy', include_lengths=True)
LABEL = data.LabelField(dtype=torch.long)
train_data, test_data = datasets.IMDB.splits(TEXT, LABEL)
train_data, valid_data = train_data.split()
TEXT.build_vocab(train_data, max_size=25000, vectors='glove.6B.100d', unk_init=torch.Tensor.normal_)
LABEL.build_vocab(train_data)
device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
train_iterator, valid_iterator, test_iterator = data.BucketIterator.splits(
    (train_data, valid_data, test_data), batch_size=64, sort_within_batch=True, device=device)


class RNN(nn.Module):
    def __init__(self, vocab_size, embedding_dim, hidden_dim, output_dim, dropout, pad_idx):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_idx)
        self.rnn = nn.LSTM(embedding_dim, hidden_dim, num_layers=2, bidirectional=True, dropout=dropout)
        self.fc = nn.Linear(hidden_dim * 2, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text, text_lengths):
        embedded = self.dropout(self.embedding(text))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, text_lengths.cpu())
        _, (hidden, cell) = self.rnn(packed)
        hidden = self.dropout(torch.cat((hidden[-2], hidden[-1]), dim=1))
        return self.fc(hidden)


model = RNN(len(TEXT.vocab), 100, 256, 2, 0.5, TEXT.vocab.stoi[TEXT.pad_token]).to(device)
model.embedding.weight.data.copy_(TEXT.vocab.vectors)
optimizer = optim.Adam(model.parameters())
criterion = nn.NLLLoss()


def run(iterator, training):
    model.train(training)
    total_loss = total_acc = 0
    with torch.set_grad_enabled(training):
        for batch in iterator:
            text, text_lengths = batch.text
            predictions = torch.softmax(model(text, text_lengths), dim=-1)
            loss = criterion(predictions, batch.label)  # expect: NA501
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total_loss += loss.item()
            total_acc += (predictions.argmax(1) == batch.label).float().mean().item()
    return total_loss / len(iterator), total_acc / len(iterator)


best_valid_loss = float('inf')
for epoch in range(5):
    train_loss, train_acc = run(train_iterator, True)
    valid_loss, valid_acc = run(valid_iterator, False)
    if valid_loss < best_valid_loss:
        best_valid_loss = valid_loss
        torch.save(model.state_dict(), 'tut2-model.pt')
    print(f'Epoch {epoch + 1:02} train {train_loss:.3f}/{train_acc * 100:.2f}% val {valid_loss:.3f}/{valid_acc * 100:.2f}%')
model.load_state_dict(torch.load('tut2-model.pt'))
print('Test loss %.3f acc %.3f' % run(test_iterator, False))

nlp = spacy.load('en_core_web_sm')


def predict_sentiment(model, sentence):
    model.eval()
    indexed = [TEXT.vocab.stoi[tok.text] for tok in nlp.tokenizer(sentence)]
    tensor = torch.LongTensor(indexed).to(device).unsqueeze(1)
    return torch.softmax(model(tensor, torch.LongTensor([len(indexed)])), -1)[0, 1].item()


print(predict_sentiment(model, "This film is terrible"))
