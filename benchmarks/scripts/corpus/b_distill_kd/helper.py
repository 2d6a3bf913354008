import torch
import torch.nn.functional as F


def kd_loss(y_s, y_t, T):
    p_s = F.log_softmax(y_s / T, dim=1)
    p_t = F.softmax(y_t / T, dim=1)
    return F.kl_div(p_s, p_t, reduction='batchmean') * (T ** 2)


def train_distill(epoch, loader, module_list, optimizer, opt):
    """One epoch distillation"""
    # set modules as train()
    for module in module_list:
        module.train()
    model_s, model_t = module_list[0], module_list[-1]

    for idx, (input, target) in enumerate(loader):
        input, target = input.cuda(), target.cuda()
        logit_s = model_s(input)
        with torch.no_grad():
            logit_t = model_t(input)  # expect: NA404
        loss = opt.gamma * F.cross_entropy(logit_s, target) + opt.alpha * kd_loss(logit_s, logit_t, opt.kd_T)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if idx % opt.print_freq == 0:
            print(f'Epoch [{epoch}][{idx}/{len(loader)}] loss {loss.item():.4f}')


def validate(loader, model):
    model.eval()
    correct = 0
    with torch.no_grad():
        for input, target in loader:
            correct += (model(input.cuda()).argmax(1).cpu() == target).sum().item()
    return correct / len(loader.dataset)
