import argparse
import logging

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, random_split

from evaluate import dice_coeff, evaluate
from unet import UNet
from utils.data_loading import BasicDataset


def train_model(model, device, epochs=5, batch_size=1, learning_rate=1e-5, val_percent=0.1, amp=False):
    dataset = BasicDataset("./data/imgs", "./data/masks", 0.5)
    n_val = int(len(dataset) * val_percent)
    train_set, val_set = random_split(dataset, [len(dataset) - n_val, n_val])
    train_loader = DataLoader(train_set, shuffle=True, batch_size=batch_size)
    val_loader = DataLoader(val_set, shuffle=False, drop_last=True, batch_size=batch_size)
    optimizer = optim.RMSprop(model.parameters(), lr=learning_rate, weight_decay=1e-8, momentum=0.999, foreach=True)  # allow: NA508
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=5)
    scaler = torch.cuda.amp.GradScaler(enabled=amp)
    criterion = nn.CrossEntropyLoss() if model.n_classes > 1 else nn.BCEWithLogitsLoss()
    step = 0
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in train_loader:
            images, true_masks = batch["image"].to(device), batch["mask"].to(device)
            with torch.autocast(device.type, enabled=amp):
                masks_pred = model(images)
                if model.n_classes == 1:
                    loss = criterion(masks_pred.squeeze(1), true_masks.float())
                    loss += 1 - dice_coeff(F.sigmoid(masks_pred.squeeze(1)), true_masks.float())
                else:
                    loss = criterion(masks_pred, true_masks)
                    loss += 1 - dice_coeff(F.softmax(masks_pred, dim=1).float(),
                                           F.one_hot(true_masks, model.n_classes).permute(0, 3, 1, 2).float())
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            step += 1
            division = len(train_set) // (5 * batch_size)
            if division > 0 and step % division == 0:
                val_score = evaluate(model, val_loader, device, amp)
                scheduler.step(val_score)
                logging.info("Validation Dice score: %s", val_score)
        torch.save(model.state_dict(), "checkpoint_epoch{}.pth".format(epoch))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--batch-size", type=int, default=1)
    p.add_argument("--load", default=False)
    p.add_argument("--classes", type=int, default=2)
    args = p.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = UNet(n_channels=3, n_classes=args.classes)
    model = model.to(memory_format=torch.channels_last)
    if args.load:
        model.load_state_dict(torch.load(args.load, map_location=device))
    model.to(device=device)
    try:
        train_model(model, device, args.epochs, args.batch_size)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        train_model(model, device, args.epochs, args.batch_size, amp=True)
