import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torchvision.models import vgg16_bn


def evaluate(net, loader, device):
    net.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (net(x.to(device)).argmax(dim=1) == y.to(device)).sum().item()
    return 100. * correct / len(loader.dataset)


@torch.no_grad()
def recalibrate(net, loader, device):
    """Recompute the running statistics by plain averaging."""
    momenta = {}
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.reset_running_stats()
            momenta[m] = m.momentum
            m.momentum = None
    was_training = net.training
    net.train()
    for x, _ in loader:
        net(x.to(device))
    for m, value in momenta.items():
        m.momentum = value
    net.train(was_training)


def main(device="cuda", epochs=300, swa_start=160, use_torch=True):
    from cifar import train_loader, test_loader
    model = vgg16_bn(num_classes=100).to(device)
    swa_model = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=.05, momentum=.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300)
    swa_scheduler = SWALR(optimizer, swa_lr=0.05)
    for epoch in range(epochs):
        model.train()
        for input, target in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(input.to(device)), target.to(device)).backward()
            optimizer.step()
        if epoch > swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
    if use_torch:
        update_bn(train_loader, swa_model, device=device)
    else:
        recalibrate(swa_model, train_loader, device)
    print('SGD', evaluate(model, test_loader, device), 'SWA', evaluate(swa_model, test_loader, device))


main()
