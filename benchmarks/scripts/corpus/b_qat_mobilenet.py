import argparse
import copy
import os

import torch
import torch.ao.quantization
import torchvision
from torch import nn

import utils
from train import evaluate, load_data


def train_one_epoch(model, criterion, optimizer, data_loader, device, epoch, print_freq):
    model.train()
    for i, (image, target) in enumerate(data_loader):
        image, target = image.to(device), target.to(device)
        loss = criterion(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % print_freq == 0:
            print(f'[{epoch}] {i}/{len(data_loader)} {loss.item():.4f}')


def main(args):
    device = torch.device(args.device)
    torch.backends.quantized.engine = args.backend
    train_loader, test_loader = load_data(args.data_path, args.batch_size)
    model = torchvision.models.quantization.mobilenet_v2(pretrained=True, quantize=False)
    model.to(device)
    model.fuse_model(is_qat=True)
    model.qconfig = torch.ao.quantization.get_default_qat_qconfig(args.backend)
    model.train()
    torch.ao.quantization.prepare_qat(model, inplace=True)

    # small decay for conv weights only
    decay, no_decay = [], []
    for name, param in model.named_parameters():
        (no_decay if param.ndim <= 1 else decay).append(param)
    optimizer = torch.optim.SGD([{'params': no_decay, 'weight_decay': 0.}, {'params': decay, 'weight_decay': 1e-4}],
                                lr=args.lr, momentum=0.9)
    lr_scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    criterion = nn.CrossEntropyLoss()

    model.apply(torch.ao.quantization.enable_observer)
    model.apply(torch.ao.quantization.enable_fake_quant)
    for epoch in range(args.epochs):
        print('Starting training for epoch', epoch)
        train_one_epoch(model, criterion, optimizer, train_loader, device, epoch, args.print_freq)
        lr_scheduler.step()
        with torch.inference_mode():
            if epoch >= args.num_observer_update_epochs:
                print('Disabling observer for subseq epochs, epoch = ', epoch)
                model.apply(torch.ao.quantization.disable_observer)
            if epoch >= args.num_batch_norm_update_epochs:
                print('Freezing BN for subseq epochs, epoch = ', epoch)
                model.apply(torch.nn.intrinsic.qat.freeze_bn_stats)
            print('Evaluate QAT model')
            evaluate(model, criterion, test_loader, device=device, log_suffix='QAT')
            quantized_eval_model = copy.deepcopy(model)
            quantized_eval_model.eval()
            quantized_eval_model.to(torch.device('cpu'))
            torch.ao.quantization.convert(quantized_eval_model, inplace=True)
            print('Evaluate Quantized model')
            evaluate(quantized_eval_model, criterion, test_loader, device=torch.device('cpu'))
        model.train()
        utils.save_on_master({'model': model.state_dict(), 'eval_model': quantized_eval_model.state_dict()},
                             os.path.join(args.output_dir, 'checkpoint.pth'))


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--data-path')
    p.add_argument('--backend', default='qnnpack')
    p.add_argument('--device', default='cpu')
    p.add_argument('--batch-size', default=32, type=int)
    p.add_argument('--epochs', default=90, type=int)
    p.add_argument('--lr', default=1e-4, type=float)
    p.add_argument('--num-observer-update-epochs', default=4, type=int)
    p.add_argument('--num-batch-norm-update-epochs', default=3, type=int)
    p.add_argument('--print-freq', default=10, type=int)
    p.add_argument('--output-dir', default='.')
    main(p.parse_args())
