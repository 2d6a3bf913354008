import argparse
import time
from collections import namedtuple

import torch
from torch.optim import Adam
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms


class Vgg16(torch.nn.Module):
    def __init__(self, requires_grad=False):
        super(Vgg16, self).__init__()
        vgg_pretrained_features = models.vgg16(pretrained=True).features
        self.slice1 = torch.nn.Sequential()
        self.slice2 = torch.nn.Sequential()
        for x in range(4):
            self.slice1.add_module(str(x), vgg_pretrained_features[x])
        for x in range(4, 9):
            self.slice2.add_module(str(x), vgg_pretrained_features[x])
        if not requires_grad:
            for param in self.parameters():
                param.requires_grad = False

    def forward(self, X):
        h1 = self.slice1(X)
        h2 = self.slice2(h1)
        return namedtuple("VggOutputs", ['relu1_2', 'relu2_2'])(h1, h2)


class ResidualBlock(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.in1 = torch.nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.in2 = torch.nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x):
        return x + self.in2(self.conv2(torch.relu(self.in1(self.conv1(x)))))


class TransformerNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Conv2d(3, 32, 9, padding=4)
        self.norm = torch.nn.InstanceNorm2d(32, affine=True)
        self.res = torch.nn.Sequential(*[ResidualBlock(32) for _ in range(5)])
        self.tail = torch.nn.Conv2d(32, 3, 9, padding=4)

    def forward(self, x):
        return self.tail(self.res(torch.relu(self.norm(self.head(x)))))


def gram_matrix(y):
    b, ch, h, w = y.size()
    f = y.view(b, ch, w * h)
    return f.bmm(f.transpose(1, 2)) / (ch * h * w)


def train(args):
    device = torch.device("cuda" if args.cuda else "cpu")
    tf = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(256), transforms.ToTensor()])
    train_loader = DataLoader(datasets.ImageFolder(args.dataset, tf), batch_size=4)
    transformer = TransformerNet().to(device)
    optimizer = Adam(transformer.parameters(), 1e-3)
    mse_loss = torch.nn.MSELoss()
    vgg = Vgg16(requires_grad=False).to(device)
    style = tf(datasets.folder.default_loader(args.style_image)).repeat(4, 1, 1, 1).to(device)
    gram_style = [gram_matrix(y) for y in vgg(style)]

    for e in range(args.epochs):
        transformer.train()
        for batch_id, (x, _) in enumerate(train_loader):
            optimizer.zero_grad()
            x = x.to(device)
            y = transformer(x)
            features_y, features_x = vgg(y), vgg(x)
            content_loss = 1e5 * mse_loss(features_y.relu2_2, features_x.relu2_2)
            style_loss = 0.
            for ft_y, gm_s in zip(features_y, gram_style):
                style_loss += mse_loss(gram_matrix(ft_y), gm_s[:len(x), :, :])
            total_loss = content_loss + 1e10 * style_loss
            total_loss.backward()
            optimizer.step()
            if (batch_id + 1) % 500 == 0:
                print("{}\tEpoch {}: {:.3f}".format(time.ctime(), e + 1, total_loss.item()))

    transformer.eval().cpu()
    torch.save(transformer.state_dict(), args.save)


def stylize(args):
    device = torch.device("cuda" if args.cuda else "cpu")
    content = transforms.ToTensor()(datasets.folder.default_loader(args.content_image)).unsqueeze(0).to(device)
    with torch.no_grad():
        style_model = TransformerNet()
        style_model.load_state_dict(torch.load(args.model))
        style_model.to(device)
        # instance norm without running statistics behaves the same in both modes
        output = style_model(content).cpu()
    torch.save(output, args.output_image)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("cmd", choices=["train", "eval"])
    for name in ("dataset", "style-image", "save", "content-image", "model", "output-image"):
        p.add_argument("--" + name, type=str)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--cuda", action="store_true")
    args = p.parse_args()
    train(args) if args.cmd == "train" else stylize(args)
