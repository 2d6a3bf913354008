import json
import sys
from pathlib import Path

import torch
import torchvision
from torch import nn

ARCHS = {'r18': torchvision.models.resnet18, 'd121': torchvision.models.densenet121, 'b0': torchvision.models.efficientnet_b0}


def load_all(folder):
    nets = {}
    for path in Path(folder).glob('*.pt'):
        arch, fold = path.stem.split('_')
        net = ARCHS[arch](num_classes=5)
        net.load_state_dict(torch.load(path, map_location='cpu'))
        nets[arch, int(fold)] = net
    if not nets:
        sys.exit('no checkpoints in ' + folder)
    for net in nets.values():
        net.requires_grad_(False)
        net.eval()
    return nets


class Ensemble(nn.Module):
    def __init__(self, nets):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x):
        return torch.stack([n(x).softmax(-1) for n in self.nets]).mean(0)


def predict_each(nets, x):
    return {f'{a}/{f}': net(x).argmax(-1).tolist() for (a, f), net in nets.items()}


def main(folder, images):
    nets = load_all(folder)
    x = torch.load(images)
    votes = predict_each(nets, x)
    ensemble = Ensemble(list(nets.values())).eval()
    with torch.inference_mode():
        votes['mean'] = ensemble(x).argmax(-1).tolist()
    print(json.dumps(votes, indent=1))


if __name__ == '__main__':
    main(*sys.argv[1:])
