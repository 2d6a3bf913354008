"""Neural collaborative filtering on MovieLens with implicit feedback."""
import time

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
import torch.utils.data as data

import data_utils
import evaluate


class NCF(nn.Module):
    def __init__(self, user_num, item_num, factor_num, num_layers, dropout):
        super(NCF, self).__init__()
        self.embed_user_GMF = nn.Embedding(user_num, factor_num)
        self.embed_item_GMF = nn.Embedding(item_num, factor_num)
        self.embed_user_MLP = nn.Embedding(user_num, factor_num * (2 ** (num_layers - 1)))
        self.embed_item_MLP = nn.Embedding(item_num, factor_num * (2 ** (num_layers - 1)))
        modules = []
        for i in range(num_layers):
            size = factor_num * (2 ** (num_layers - i))
            modules += [nn.Dropout(p=dropout), nn.Linear(size, size // 2), nn.ReLU()]
        self.MLP_layers = nn.Sequential(*modules)
        self.predict_layer = nn.Linear(factor_num * 2, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, user, item):
        gmf = self.embed_user_GMF(user) * self.embed_item_GMF(item)
        mlp = self.MLP_layers(torch.cat((self.embed_user_MLP(user), self.embed_item_MLP(item)), -1))
        prediction = self.predict_layer(torch.cat((gmf, mlp), -1))
        return self.sigmoid(prediction).view(-1)


def metrics(model, test_loader, top_k):
    HR, NDCG = [], []
    for user, item, label in test_loader:
        predictions = model(user.cuda(), item.cuda())
        _, indices = torch.topk(predictions, top_k)
        recommends = torch.take(item.cuda(), indices).cpu().numpy().tolist()
        gt_item = item[0].item()
        HR.append(evaluate.hit(gt_item, recommends))
        NDCG.append(evaluate.ndcg(gt_item, recommends))
    return np.mean(HR), np.mean(NDCG)


train_data, test_data, user_num, item_num, train_mat = data_utils.load_all()
train_dataset = data_utils.NCFData(train_data, item_num, train_mat, 4, True)
test_dataset = data_utils.NCFData(test_data, item_num, train_mat, 0, False)
train_loader = data.DataLoader(train_dataset, batch_size=256, shuffle=True, num_workers=4)
test_loader = data.DataLoader(test_dataset, batch_size=100, shuffle=False)

model = NCF(user_num, item_num, 32, 3, 0.2)
model.cuda()
loss_function = nn.BCEWithLogitsLoss()
optimizer = optim.Adam(model.parameters(), lr=0.001)

best_hr = 0
for epoch in range(20):
    model.train()  # Enable dropout (if have).
    start_time = time.time()
    train_loader.dataset.ng_sample()
    for user, item, label in train_loader:
        user, item, label = user.cuda(), item.cuda(), label.float().cuda()
        model.zero_grad()
        prediction = model(user, item)
        loss = loss_function(prediction, label)  # expect: NA502
        loss.backward()
        optimizer.step()

    model.eval()
    HR, NDCG = metrics(model, test_loader, 10)
    print("epoch {:03d} {} HR: {:.3f} NDCG: {:.3f}".format(epoch, time.time() - start_time, HR, NDCG))
    if HR > best_hr:
        best_hr = HR
        torch.save(model, 'NCF.pth')
