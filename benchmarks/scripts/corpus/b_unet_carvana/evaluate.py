import torch
import torch.nn.functional as F
from tqdm import tqdm


def dice_coeff(input, target, epsilon=1e-6):
    inter = 2 * (input * target).sum()
    return (inter + epsilon) / (input.sum() + target.sum() + epsilon)


@torch.inference_mode()
def evaluate(net, dataloader, device, amp):
    net.eval()
    num_val_batches = len(dataloader)
    dice_score = 0

    # iterate over the validation set
    with torch.autocast(device.type if device.type != 'mps' else 'cpu', enabled=amp):
        for batch in tqdm(dataloader, total=num_val_batches, desc='Validation round', unit='batch', leave=False):
            image, mask_true = batch['image'].to(device), batch['mask'].to(device)
            mask_pred = net(image)
            if net.n_classes == 1:
                mask_pred = (F.sigmoid(mask_pred) > 0.5).float()
            else:
                mask_pred = F.one_hot(mask_pred.argmax(dim=1), net.n_classes).permute(0, 3, 1, 2).float()
            dice_score += dice_coeff(mask_pred, mask_true)

    net.train()
    return dice_score / max(num_val_batches, 1)
