import torch
import torch.nn.functional as F
from tqdm import tqdm


def dice_coeff(a, b, eps=1e-6):
    inter = 2 * (a * b).sum(dim=(-1, -2))
    return ((inter + eps) / (a.sum(dim=(-1, -2)) + b.sum(dim=(-1, -2)) + eps)).mean()


@torch.inference_mode()
def evaluate(net, dataloader, device, amp):
    net.eval()
    num_val_batches = len(dataloader)
    dice_score = 0
    with torch.autocast(device.type if device.type != "mps" else "cpu", enabled=amp):
        for batch in tqdm(dataloader, total=num_val_batches, leave=False):
            image, mask_true = batch["image"].to(device), batch["mask"].to(device)
            mask_pred = net(image)
            if net.n_classes == 1:
                mask_pred = (F.sigmoid(mask_pred) > 0.5).float()
                dice_score += dice_coeff(mask_pred.squeeze(1), mask_true)
            else:
                mask_true = F.one_hot(mask_true, net.n_classes).permute(0, 3, 1, 2).float()
                mask_pred = F.one_hot(mask_pred.argmax(dim=1), net.n_classes).permute(0, 3, 1, 2).float()
                dice_score += dice_coeff(mask_pred[:, 1:], mask_true[:, 1:])
    net.train()
    return dice_score / max(num_val_batches, 1)
