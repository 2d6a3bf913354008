import argparse
import re

import numpy as np
import torch
from PIL import Image
from torch.optim import Adam
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from transformer_net import TransformerNet
from vgg import Vgg16


def gram_matrix(y):
    b, ch, h, w = y.size()
    f = y.view(b, ch, w * h)
    return f.bmm(f.transpose(1, 2)) / (ch * h * w)


def train(args):
    device = torch.device("cuda" if args.cuda else "cpu")
    tf = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(256), transforms.ToTensor(),
                             transforms.Lambda(lambda x: x.mul(255))])
    loader = DataLoader(datasets.ImageFolder(args.dataset, tf), batch_size=args.batch_size)
    transformer = TransformerNet().to(device)
    optimizer = Adam(transformer.parameters(), args.lr)
    mse_loss = torch.nn.MSELoss()
    vgg = Vgg16(requires_grad=False).to(device)
    style = transforms.ToTensor()(Image.open(args.style_image).convert("RGB")).mul(255)
    style = style.repeat(args.batch_size, 1, 1, 1).to(device)
    features_style = vgg(style)
    gram_style = [gram_matrix(y) for y in features_style]
    for e in range(args.epochs):
        transformer.train()
        for batch_id, (x, _) in enumerate(loader):
            optimizer.zero_grad()
            x = x.to(device)
            y = transformer(x)
            fy, fx = vgg(y), vgg(x)
            loss = args.content_weight * mse_loss(fy.relu2_2, fx.relu2_2)
            for ft, gm in zip(fy, gram_style):
                loss = loss + args.style_weight * mse_loss(gram_matrix(ft), gm[:len(x)])
            loss.backward()
            optimizer.step()
            if args.checkpoint_dir is not None and (batch_id + 1) % 2000 == 0:
                transformer.eval().cpu()
                torch.save(transformer.state_dict(), args.checkpoint_dir + "/ckpt_%d.pth" % e)
                transformer.to(device).train()
    transformer.eval().cpu()
    torch.save(transformer.state_dict(), args.save_model_dir + "/final.model")


def stylize(args):
    device = torch.device("cuda" if args.cuda else "cpu")
    content = transforms.ToTensor()(Image.open(args.content_image)).mul(255).unsqueeze(0).to(device)
    with torch.no_grad():
        style_model = TransformerNet()
        state_dict = torch.load(args.model)
        for k in list(state_dict.keys()):
            if re.search(r"in\d+\.running_(mean|var)$", k):
                del state_dict[k]
        style_model.load_state_dict(state_dict)
        style_model.to(device)
        if args.export_onnx:
            style_model.eval()
            torch.onnx.export(style_model, content, args.export_onnx, opset_version=11)
        else:
            output = style_model(content).cpu()
            img = output[0].clone().clamp(0, 255).numpy().transpose(1, 2, 0).astype(np.uint8)
            Image.fromarray(img).save(args.output_image)


def main():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(dest="subcommand")
    t = sub.add_parser("train")
    for name in ("--dataset", "--style-image", "--save-model-dir", "--checkpoint-dir"):
        t.add_argument(name, type=str)
    t.add_argument("--epochs", type=int, default=2)
    t.add_argument("--batch-size", type=int, default=4)
    t.add_argument("--lr", type=float, default=1e-3)
    t.add_argument("--content-weight", type=float, default=1e5)
    t.add_argument("--style-weight", type=float, default=1e10)
    e = sub.add_parser("eval")
    for name in ("--content-image", "--model", "--output-image", "--export_onnx"):
        e.add_argument(name, type=str)
    for p in (t, e):
        p.add_argument("--cuda", type=int, default=0)
    args = parser.parse_args()
    if args.subcommand == "train":
        train(args)
    else:
        stylize(args)


if __name__ == "__main__":
    main()
