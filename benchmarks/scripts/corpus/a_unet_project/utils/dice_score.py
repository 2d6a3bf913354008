import torch


def dice_coeff(pred, target, epsilon=1e-6):
    inter = 2 * (pred * target).sum()
    sets = pred.sum() + target.sum()
    sets = torch.where(sets == 0, inter, sets)
    return (inter + epsilon) / (sets + epsilon)


def dice_loss(pred, target):
    return 1 - dice_coeff(pred, target)
