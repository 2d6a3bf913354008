from __future__ import print_function
import os
import argparse
import torch
import torch.nn.functional as F
import torchvision
import torch.optim as optim
from torch.autograd import Variable
from torchvision import transforms

from models.wideresnet import WideResNet

parser = argparse.ArgumentParser(description='PyTorch CIFAR adversarial training')
parser.add_argument('--batch-size', type=int, default=128)
parser.add_argument('--epochs', type=int, default=76)
parser.add_argument('--lr', type=float, default=0.1)
parser.add_argument('--epsilon', default=0.031)
parser.add_argument('--num-steps', default=10)
parser.add_argument('--step-size', default=0.007)
parser.add_argument('--beta', default=6.0)
parser.add_argument('--model-dir', default='./model-cifar-wideResNet')
args = parser.parse_args()
os.makedirs(args.model_dir, exist_ok=True)
device = torch.device("cuda")

trainset = torchvision.datasets.CIFAR10(root='../data', train=True, download=True, transform=transforms.ToTensor())
train_loader = torch.utils.data.DataLoader(trainset, batch_size=args.batch_size, shuffle=True)
testset = torchvision.datasets.CIFAR10(root='../data', train=False, download=True, transform=transforms.ToTensor())
test_loader = torch.utils.data.DataLoader(testset, batch_size=args.batch_size, shuffle=False)


def trades_loss(model, x_natural, y, optimizer, step_size, epsilon, perturb_steps, beta):
    criterion_kl = torch.nn.KLDivLoss(reduction='sum')
    model.eval()
    batch_size = len(x_natural)
    # generate adversarial example
    x_adv = x_natural.detach() + 0.001 * torch.randn(x_natural.shape).cuda().detach()
    for _ in range(perturb_steps):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss_kl = criterion_kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x_natural), dim=1))
        grad = torch.autograd.grad(loss_kl, [x_adv])[0]
        x_adv = x_adv.detach() + step_size * torch.sign(grad.detach())
        x_adv = torch.min(torch.max(x_adv, x_natural - epsilon), x_natural + epsilon)
        x_adv = torch.clamp(x_adv, 0.0, 1.0)
    model.train()
    x_adv = Variable(x_adv, requires_grad=False)
    optimizer.zero_grad()
    logits = model(x_natural)
    loss_natural = F.cross_entropy(logits, y)
    loss_robust = (1.0 / batch_size) * criterion_kl(F.log_softmax(model(x_adv), dim=1), F.softmax(model(x_natural), dim=1))
    return loss_natural + beta * loss_robust


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = trades_loss(model, data, target, optimizer, args.step_size, args.epsilon, args.num_steps, args.beta)
        loss.backward()
        optimizer.step()
        if batch_idx % 100 == 0:
            print('Train Epoch: {} Loss: {:.6f}'.format(epoch, loss.item()))


def eval_test(model, device, loader, name):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.cross_entropy(output, target, reduction='sum').item()
            correct += output.max(1)[1].eq(target).sum().item()
    print('{}: loss {:.4f} acc {:.2f}'.format(name, test_loss / len(loader.dataset), 100. * correct / len(loader.dataset)))


def main():
    model = WideResNet().to(device)
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for epoch in range(1, args.epochs + 1):
        if epoch in (75, 90):
            for g in optimizer.param_groups:
                g['lr'] *= 0.1
        train(args, model, device, train_loader, optimizer, epoch)
        eval_test(model, device, train_loader, 'Training')
        eval_test(model, device, test_loader, 'Test')
        torch.save(model.state_dict(), os.path.join(args.model_dir, 'model-wideres-epoch{}.pt'.format(epoch)))


if __name__ == '__main__':
    main()
