import argparse

import torch
import torch.nn as nn
import torch.optim as optim

from dataset.cifar100 import get_cifar100_dataloaders
from helper import train_distill, validate
from models import create_model


def parse_option():
    parser = argparse.ArgumentParser('argument for training')
    parser.add_argument('--print_freq', type=int, default=100)
    parser.add_argument('--batch_size', type=int, default=64)
    parser.add_argument('--epochs', type=int, default=240)
    parser.add_argument('--path_t', type=str, required=True, help='teacher snapshot')
    parser.add_argument('--kd_T', type=float, default=4)
    parser.add_argument('--gamma', type=float, default=0.1)
    parser.add_argument('--alpha', type=float, default=0.9)
    return parser.parse_args()


def load_teacher(model_path, n_cls):
    print('==> loading teacher model')
    model = create_model('wide64', n_cls)
    model.load_state_dict(torch.load(model_path)['model'])
    print('==> done')
    return model


def main():
    opt = parse_option()
    train_loader, val_loader, n_cls = get_cifar100_dataloaders(opt.batch_size)
    model_t = load_teacher(opt.path_t, n_cls).cuda()
    model_s = create_model('wide16', n_cls).cuda()
    module_list = nn.ModuleList([model_s, model_t])
    optimizer = optim.SGD(model_s.parameters(), lr=0.05, momentum=0.9)
    print('teacher accuracy: ', validate(val_loader, model_t))
    best = 0
    for epoch in range(1, opt.epochs + 1):
        train_distill(epoch, train_loader, module_list, optimizer, opt)
        acc = validate(val_loader, model_s)
        if acc > best:
            best = acc
            torch.save({'epoch': epoch, 'model': model_s.state_dict()}, 'student_best.pth')
    print('best accuracy:', best)


if __name__ == '__main__':
    main()
