#!/usr/bin/env python
# coding: utf-8

# # Toxic comments, BiLSTM with GloVe
# In[1]:


import gc
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from keras.preprocessing import sequence, text
from torch.utils.data import DataLoader, TensorDataset


# In[2]:


train = pd.read_csv('../input/train.csv')
test = pd.read_csv('../input/test.csv')
MAX_LEN = 220
tokenizer = text.Tokenizer()
tokenizer.fit_on_texts(list(train['comment_text']) + list(test['comment_text']))
x_train = sequence.pad_sequences(tokenizer.texts_to_sequences(train['comment_text']), maxlen=MAX_LEN)
x_test = sequence.pad_sequences(tokenizer.texts_to_sequences(test['comment_text']), maxlen=MAX_LEN)
y_train = np.where(train['target'] >= 0.5, 1, 0)
embedding_matrix = np.load('../input/glove.npy')
gc.collect()


# In[3]:


class SpatialDropout(nn.Dropout2d):
    def forward(self, x):
        x = x.unsqueeze(2).permute(0, 3, 2, 1)
        x = super(SpatialDropout, self).forward(x)
        return x.permute(0, 3, 2, 1).squeeze(2)


class NeuralNet(nn.Module):
    def __init__(self, embedding_matrix):
        super(NeuralNet, self).__init__()
        n, d = embedding_matrix.shape
        self.embedding = nn.Embedding(n, d)
        self.embedding.weight = nn.Parameter(torch.tensor(embedding_matrix, dtype=torch.float32))
        self.embedding.weight.requires_grad = False
        self.embedding_dropout = SpatialDropout(0.3)
        self.lstm1 = nn.LSTM(d, 128, bidirectional=True, batch_first=True)
        self.linear_out = nn.Linear(512, 1)

    def forward(self, x):
        h, _ = self.lstm1(self.embedding_dropout(self.embedding(x)))
        return self.linear_out(torch.cat((h.mean(1), h.max(1)[0]), 1))


# In[4]:


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def train_model(model, train, test, loss_fn, lr=0.001, batch_size=512, n_epochs=4):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.6 ** epoch)
    train_loader = DataLoader(train, batch_size=batch_size, shuffle=True)
    test_loader = DataLoader(test, batch_size=batch_size, shuffle=False)
    all_test_preds = []
    for epoch in range(n_epochs):
        model.train()
        for x_batch, y_batch in train_loader:
            y_pred = model(x_batch.cuda())
            loss = loss_fn(y_pred, y_batch.cuda())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval
        test_preds = np.zeros((len(test), 1))
        for i, (x_batch,) in enumerate(test_loader):
            y_pred = sigmoid(model(x_batch.cuda()).detach().cpu().numpy())  # expect: NA401
            test_preds[i * batch_size:(i + 1) * batch_size, :] = y_pred
        all_test_preds.append(test_preds)
    return np.average(all_test_preds, weights=[2 ** e for e in range(n_epochs)], axis=0)


# In[5]:


train_set = TensorDataset(torch.tensor(x_train, dtype=torch.long), torch.tensor(y_train[:, None], dtype=torch.float32))
test_set = TensorDataset(torch.tensor(x_test, dtype=torch.long))
preds = []
for seed in range(2):
    torch.manual_seed(seed)
    model = NeuralNet(embedding_matrix).cuda()
    preds.append(train_model(model, train_set, test_set, nn.BCEWithLogitsLoss()))
pd.DataFrame({'id': test['id'], 'prediction': np.mean(preds, axis=0)[:, 0]}).to_csv('submission.csv', index=False)
