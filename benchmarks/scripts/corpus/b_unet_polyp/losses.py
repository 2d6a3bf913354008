import torch


def dice_loss(logits, target, smooth=1.0):
    prob = torch.softmax(logits, dim=1)[:, 1]
    target = (target == 1).float()
    inter = (prob * target).sum()
    return 1 - (2 * inter + smooth) / (prob.sum() + target.sum() + smooth)
