import time

import torch
import torch.nn as nn
import torch.optim as O

from model import SNLIClassifier
from util import get_args, load_iters

args = get_args()
device = torch.device('cuda:{}'.format(args.gpu))
train_iter, dev_iter, config = load_iters(args, device)

model = SNLIClassifier(config)
model.to(device)
criterion = nn.CrossEntropyLoss()
opt = O.Adam(model.parameters(), lr=args.lr)

iterations = 0
start = time.time()
best_dev_acc = -1
header = '  Time Epoch Iteration Progress    Loss   Dev/Loss     Accuracy  Dev/Accuracy'
print(header)

for epoch in range(args.epochs):
    train_iter.init_epoch()
    n_correct, n_total = 0, 0
    model.train()
    for batch_idx, batch in enumerate(train_iter):
        opt.zero_grad()
        iterations += 1
        answer = model(batch)
        n_correct += (torch.max(answer, 1)[1].view(batch.label.size()) == batch.label).sum().item()
        n_total += batch.batch_size
        train_acc = 100. * n_correct / n_total
        loss = criterion(answer, batch.label)
        loss.backward()
        opt.step()

        # evaluate performance on validation set periodically
        if iterations % args.dev_every == 0:
            model.eval()  # expect: NA402
            dev_iter.init_epoch()
            n_dev_correct, dev_loss = 0, 0
            with torch.no_grad():
                for dev_batch in dev_iter:
                    answer = model(dev_batch)
                    n_dev_correct += (torch.max(answer, 1)[1].view(dev_batch.label.size()) == dev_batch.label).sum().item()
                    dev_loss = criterion(answer, dev_batch.label)
            dev_acc = 100. * n_dev_correct / len(dev_iter.dataset)
            print(time.time() - start, epoch, iterations, loss.item(), dev_loss.item(), train_acc, dev_acc)
            if dev_acc > best_dev_acc:
                best_dev_acc = dev_acc
                torch.save(model, args.save_path + '/best_snapshot.pt')
