import argparse
import time

import cv2
import torch
import torch.nn as nn


class DWConv(nn.Sequential):
    def __init__(self, i, o, s=1):
        super().__init__(nn.Conv2d(i, i, 3, s, 1, groups=i, bias=False), nn.BatchNorm2d(i), nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o), nn.SiLU())


class Matting(nn.Module):
    def __init__(self, w=24):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(3, w, 3, 2, 1), DWConv(w, w * 2, 2), DWConv(w * 2, w * 4, 2))
        self.dec = nn.Sequential(nn.Upsample(scale_factor=8, mode='bilinear'), DWConv(w * 4, w), nn.Conv2d(w, 1, 1))

    def forward(self, x):
        return self.dec(self.enc(x)).sigmoid()


def open_capture(source):
    cap = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not cap.isOpened():
        raise SystemExit('cannot open %s' % source)
    return cap


def run(opt):
    dev = torch.device(opt.device)
    net = Matting()
    net.load_state_dict(torch.load(opt.weights, map_location='cpu')['ema'])
    net.to(dev)
    if opt.half:
        net.half().eval()
    cap = open_capture(opt.source)
    fps = 0.
    while True:
        ok, frame = cap.read()
        if not ok:
            break
        t = time.perf_counter()
        x = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].to(dev)
        x = (x.half() if opt.half else x.float()) / 255
        with torch.no_grad():
            alpha = net(x)  # expect: NA401
        out = (x * alpha)[0].permute(1, 2, 0).float().cpu().numpy()[..., ::-1]
        fps = .9 * fps + .1 / (time.perf_counter() - t)
        cv2.putText(frame, f'{fps:.1f}', (5, 20), cv2.FONT_HERSHEY_PLAIN, 1, (0, 255, 0))
        cv2.imshow('matting', out)
        if cv2.waitKey(1) == ord('q'):
            break
    cap.release()
    cv2.destroyAllWindows()


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--weights', default='matting.pt')
    p.add_argument('--source', default='0')
    p.add_argument('--device', default='cuda:0')
    p.add_argument('--half', action='store_true')
    run(p.parse_args())
