#coding:utf8
import pickle as pkl
import time
from importlib import import_module

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import metrics

from utils import build_dataset, build_iterator, get_time_dif


class Config(object):
    def __init__(self, dataset):
        self.vocab_path = dataset + '/data/vocab.pkl'
        self.class_list = [x.strip() for x in open(dataset + '/data/class.txt', encoding='utf-8')]
        self.save_path = dataset + '/saved_dict/TextCNN.ckpt'
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.dropout = 0.5
        self.num_classes = len(self.class_list)
        self.n_vocab = len(pkl.load(open(self.vocab_path, 'rb')))
        self.num_epochs, self.batch_size, self.learning_rate = 20, 128, 1e-3
        self.embed, self.filter_sizes, self.num_filters = 300, (2, 3, 4), 256


class Model(nn.Module):
    def __init__(self, config):
        super(Model, self).__init__()
        self.embedding = nn.Embedding(config.n_vocab, config.embed, padding_idx=config.n_vocab - 1)
        self.convs = nn.ModuleList([nn.Conv2d(1, config.num_filters, (k, config.embed)) for k in config.filter_sizes])
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(config.num_filters * len(config.filter_sizes), config.num_classes)

    def conv_and_pool(self, x, conv):
        x = F.relu(conv(x)).squeeze(3)
        return F.max_pool1d(x, x.size(2)).squeeze(2)

    def forward(self, x):
        out = self.embedding(x[0]).unsqueeze(1)
        out = torch.cat([self.conv_and_pool(out, conv) for conv in self.convs], 1)
        out = self.dropout(out)
        out = F.softmax(self.fc(out), dim=1)
        return out


def train(config, model, train_iter, dev_iter):
    start_time = time.time()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    total_batch, dev_best_loss = 0, float('inf')
    for epoch in range(config.num_epochs):
        for i, (trains, labels) in enumerate(train_iter):
            outputs = model(trains)
            model.zero_grad()
            loss = F.cross_entropy(outputs, labels)  # expect: NA501
            loss.backward()
            optimizer.step()
            if total_batch % 100 == 0:
                dev_acc, dev_loss = evaluate(config, model, dev_iter)
                if dev_loss < dev_best_loss:
                    dev_best_loss = dev_loss
                    torch.save(model.state_dict(), config.save_path)
                print(total_batch, loss.item(), dev_loss, dev_acc, get_time_dif(start_time))
                model.train()
            total_batch += 1


def evaluate(config, model, data_iter):
    model.eval()
    loss_total = 0
    predict_all, labels_all = np.array([], dtype=int), np.array([], dtype=int)
    with torch.no_grad():
        for texts, labels in data_iter:
            outputs = model(texts)
            loss_total += F.nll_loss(torch.log(outputs + 1e-9), labels)
            predict_all = np.append(predict_all, torch.max(outputs.data, 1)[1].cpu().numpy())
            labels_all = np.append(labels_all, labels.cpu().numpy())
    return metrics.accuracy_score(labels_all, predict_all), loss_total / len(data_iter)


if __name__ == '__main__':
    config = Config('THUCNews')
    vocab, train_data, dev_data, test_data = build_dataset(config)
    model = Model(config).to(config.device)
    train(config, model, build_iterator(train_data, config), build_iterator(dev_data, config))
