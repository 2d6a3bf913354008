import argparse
import json

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import models, transforms


class GradCam:
    def __init__(self, model, target_layer):
        self.model = model
        self.feature, self.gradient = None, None
        target_layer.register_forward_hook(self.save_feature)
        target_layer.register_full_backward_hook(self.save_gradient)

    def save_feature(self, module, inp, out):
        self.feature = out.detach()

    def save_gradient(self, module, gin, gout):
        self.gradient = gout[0].detach()

    def __call__(self, x, index=None):
        self.model.zero_grad()
        output = self.model(x)  # expect: NA401
        if index is None:
            index = np.argmax(output.cpu().data.numpy())
        output[0, index].backward()
        weight = self.gradient.mean(dim=(2, 3), keepdim=True)
        cam = torch.relu((weight * self.feature).sum(1))[0].cpu().numpy()
        cam = cv2.resize(cam - cam.min(), (224, 224))
        return cam / (cam.max() + 1e-8), int(index)


def show_cam_on_image(img, mask, path):
    heatmap = np.float32(cv2.applyColorMap(np.uint8(255 * mask), cv2.COLORMAP_JET)) / 255
    cam = heatmap + np.float32(img)
    cv2.imwrite(path, np.uint8(255 * cam / np.max(cam)))


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--image-path', type=str, default='./examples/both.png')
    parser.add_argument('--out', type=str, default='cam.jpg')
    args = parser.parse_args()

    tf = transforms.Compose([
        transforms.Resize((224, 224)), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    pil = Image.open(args.image_path).convert('RGB')
    x = tf(pil).unsqueeze(0)
    model = models.resnet50(pretrained=True)
    grad_cam = GradCam(model, model.layer4[-1])
    mask, idx = grad_cam(x)
    labels = json.load(open('imagenet_classes.json'))
    print('explaining', labels[idx])
    img = np.float32(cv2.resize(np.array(pil)[:, :, ::-1], (224, 224))) / 255
    show_cam_on_image(img, mask, args.out)
