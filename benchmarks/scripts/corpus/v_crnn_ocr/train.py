from __future__ import division, print_function

import argparse

import torch
import torch.nn as nn
import torch.optim as optim

import crnn as net
import dataset
import utils

parser = argparse.ArgumentParser()
parser.add_argument("--trainRoot", required=True)
parser.add_argument("--valRoot", required=True)
parser.add_argument("--batchSize", type=int, default=64)
parser.add_argument("--nh", type=int, default=256)
parser.add_argument("--nepoch", type=int, default=25)
parser.add_argument("--pretrained", default="")
parser.add_argument("--alphabet", default="0123456789abcdefghijklmnopqrstuvwxyz")
parser.add_argument("--valInterval", type=int, default=500)
opt = parser.parse_args()

train_loader = torch.utils.data.DataLoader(dataset.lmdbDataset(opt.trainRoot), batch_size=opt.batchSize, shuffle=True)
test_dataset = dataset.lmdbDataset(opt.valRoot, transform=dataset.resizeNormalize((100, 32)))
converter = utils.strLabelConverter(opt.alphabet)
criterion = nn.CTCLoss()


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        m.weight.data.normal_(0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)


crnn = net.CRNN(32, 1, len(opt.alphabet) + 1, opt.nh)
crnn.apply(weights_init)
if opt.pretrained != "":
    crnn.load_state_dict(torch.load(opt.pretrained))
crnn = torch.nn.DataParallel(crnn.cuda())
optimizer = optim.RMSprop(crnn.parameters(), lr=0.01)
loss_avg = utils.averager()


def val(net, dataset, criterion, max_iter=100):
    print("Start val")
    for p in net.parameters():
        p.requires_grad = False
    data_loader = torch.utils.data.DataLoader(dataset, shuffle=True, batch_size=opt.batchSize)
    n_correct = 0
    total = utils.averager()
    for i, (images, texts) in enumerate(data_loader):
        if i >= max_iter:
            break
        b = images.size(0)
        t, l = converter.encode(texts)
        preds = net(images.cuda())  # expect: NA401
        preds_size = torch.IntTensor([preds.size(0)] * b)
        total.add(criterion(preds.log_softmax(2), t, preds_size, l))
        _, preds = preds.max(2)
        sim_preds = converter.decode(preds.transpose(1, 0).contiguous().view(-1).data, preds_size.data, raw=False)
        for pred, target in zip(sim_preds, texts):
            if pred == target.lower():
                n_correct += 1
    print("Test loss: %f, accuracy: %f" % (total.val(), n_correct / float(max_iter * opt.batchSize)))


def trainBatch(net, criterion, optimizer, data):
    cpu_images, cpu_texts = data
    t, l = converter.encode(cpu_texts)
    preds = net(cpu_images.cuda())
    preds_size = torch.IntTensor([preds.size(0)] * cpu_images.size(0))
    cost = criterion(preds.log_softmax(2), t, preds_size, l)
    net.zero_grad()
    cost.backward()
    optimizer.step()
    return cost


for epoch in range(opt.nepoch):
    for i, data in enumerate(train_loader):
        for p in crnn.parameters():
            p.requires_grad = True
        crnn.train()
        cost = trainBatch(crnn, criterion, optimizer, data)
        loss_avg.add(cost)
        if i % opt.valInterval == 0:
            val(crnn, test_dataset, criterion)
            torch.save(crnn.state_dict(), "netCRNN_{}_{}.pth".format(epoch, i))
