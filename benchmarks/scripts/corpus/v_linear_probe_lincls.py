import argparse

import torch
import torch.nn as nn
import torchvision.models as models
import torchvision.transforms as T
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder


def load_pretrained(model, path):
    state = torch.load(path, map_location="cpu")["state_dict"]
    for k in list(state.keys()):
        if k.startswith("module.encoder_q") and not k.startswith("module.encoder_q.fc"):
            state[k[len("module.encoder_q."):]] = state[k]
        del state[k]
    msg = model.load_state_dict(state, strict=False)
    assert set(msg.missing_keys) == {"fc.weight", "fc.bias"}


def train(loader, model, criterion, optimizer, epoch):
    # Only the classifier learns: the features must not change, running statistics included, so eval mode.
    model.eval()
    for i, (images, target) in enumerate(loader):
        output = model(images.cuda())
        loss = criterion(output, target.cuda())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 100 == 0:
            print(epoch, i, loss.item())


def validate(loader, model):
    model.eval()
    top1 = 0
    with torch.no_grad():
        for images, target in loader:
            top1 += (model(images.cuda()).argmax(1) == target.cuda()).sum().item()
    return top1 / len(loader.dataset)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data")
    p.add_argument("--pretrained", required=True)
    p.add_argument("--lr", type=float, default=30.0)
    args = p.parse_args()
    model = models.resnet50()
    for name, param in model.named_parameters():
        if name not in ["fc.weight", "fc.bias"]:
            param.requires_grad = False
    model.fc.weight.data.normal_(mean=0.0, std=0.01)
    model.fc.bias.data.zero_()
    load_pretrained(model, args.pretrained)
    model = nn.DataParallel(model).cuda()
    parameters = list(filter(lambda q: q.requires_grad, model.parameters()))
    assert len(parameters) == 2
    optimizer = torch.optim.SGD(parameters, args.lr, momentum=0.9, weight_decay=0.0)
    tf = T.Compose([T.RandomResizedCrop(224), T.ToTensor()])
    train_loader = DataLoader(ImageFolder(args.data + "/train", tf), 256, shuffle=True, num_workers=8)
    val_loader = DataLoader(ImageFolder(args.data + "/val", tf), 256, num_workers=8)
    for epoch in range(100):
        train(train_loader, model, nn.CrossEntropyLoss().cuda(), optimizer, epoch)
        print("acc", validate(val_loader, model))


if __name__ == "__main__":
    main()
