import argparse
import logging

import torch
import torch.nn as nn
from torch import optim
from torch.utils.data import DataLoader, random_split

from evaluate import dice_coeff, evaluate
from unet_parts import UNet
from utils.data_loading import CarvanaDataset


def train_model(model, device, epochs=5, batch_size=1, learning_rate=1e-5, val_percent=0.1, amp=False):
    dataset = CarvanaDataset('./data/imgs/', './data/masks/', 0.5)
    n_val = int(len(dataset) * val_percent)
    train_set, val_set = random_split(dataset, [len(dataset) - n_val, n_val], generator=torch.Generator().manual_seed(0))
    train_loader = DataLoader(train_set, shuffle=True, batch_size=batch_size, num_workers=4)
    val_loader = DataLoader(val_set, shuffle=False, drop_last=True, batch_size=batch_size, num_workers=4)
    optimizer = optim.RMSprop(model.parameters(), lr=learning_rate, momentum=0.9)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, 'max', patience=5)
    grad_scaler = torch.cuda.amp.GradScaler(enabled=amp)
    criterion = nn.CrossEntropyLoss() if model.n_classes > 1 else nn.BCEWithLogitsLoss()
    global_step = 0

    for epoch in range(1, epochs + 1):
        model.train()
        epoch_loss = 0
        for batch in train_loader:
            images, true_masks = batch['image'].to(device), batch['mask'].to(device)
            with torch.autocast(device.type, enabled=amp):
                masks_pred = model(images)
                loss = criterion(masks_pred.squeeze(1), true_masks.float())
                loss += 1 - dice_coeff(torch.sigmoid(masks_pred.squeeze(1)), true_masks.float())
            optimizer.zero_grad(set_to_none=True)
            grad_scaler.scale(loss).backward()
            grad_scaler.step(optimizer)
            grad_scaler.update()
            global_step += 1
            epoch_loss += loss.item()

            division_step = len(train_set) // (5 * batch_size)
            if division_step > 0 and global_step % division_step == 0:
                val_score = evaluate(model, val_loader, device, amp)
                scheduler.step(val_score)
                logging.info('Validation Dice score: {}'.format(val_score))
        torch.save(model.state_dict(), f'checkpoint_epoch{epoch}.pth')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Train the UNet on images and target masks')
    parser.add_argument('--epochs', '-e', type=int, default=5)
    parser.add_argument('--batch-size', '-b', dest='batch_size', type=int, default=4)
    parser.add_argument('--load', '-f', type=str, default=False)
    parser.add_argument('--amp', action='store_true', default=False)
    args = parser.parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = UNet(n_channels=3, n_classes=1).to(memory_format=torch.channels_last)
    if args.load:
        model.load_state_dict(torch.load(args.load, map_location=device))
    model.to(device=device)
    train_model(model, device, args.epochs, args.batch_size, amp=args.amp)
