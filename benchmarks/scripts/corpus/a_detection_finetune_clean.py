import math
import sys

import torch
import torchvision
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor


def get_instance_segmentation_model(num_classes):
    model = maskrcnn_resnet50_fpn(weights="DEFAULT")
    in_features = model.roi_heads.box_predictor.cls_score.in_features
    model.roi_heads.box_predictor = FastRCNNPredictor(in_features, num_classes)
    in_mask = model.roi_heads.mask_predictor.conv5_mask.in_channels
    model.roi_heads.mask_predictor = MaskRCNNPredictor(in_mask, 256, num_classes)
    return model


@torch.no_grad()
def validation_losses(model, loader, device):
    # torchvision detectors return losses only in train mode; their batch norms are frozen layers
    model.train()
    sums = 0.
    for images, targets in loader:
        images = [i.to(device) for i in images]
        targets = [{k: v.to(device) for k, v in t.items()} for t in targets]
        sums += sum(model(images, targets).values()).item()
    return sums / len(loader)


@torch.inference_mode()
def detections(model, loader, device):
    model.eval()
    found = []
    for images, _ in loader:
        found += [{k: v.cpu() for k, v in o.items()} for o in model([i.to(device) for i in images])]
    return found


def main():
    from penn import PennFudan, collate
    device = torch.device('cuda') if torch.cuda.is_available() else torch.device('cpu')
    dataset, dataset_test = PennFudan(train=True), PennFudan(train=False)
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, shuffle=True, collate_fn=collate)
    loader_test = torch.utils.data.DataLoader(dataset_test, batch_size=1, collate_fn=collate)
    model = get_instance_segmentation_model(2).to(device)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.005, momentum=0.9)
    for epoch in range(10):
        model.train()
        for images, targets in loader:
            images = list(image.to(device) for image in images)
            targets = [{k: v.to(device) for k, v in t.items()} for t in targets]
            loss_dict = model(images, targets)
            losses = sum(loss for loss in loss_dict.values())
            if not math.isfinite(losses.item()):
                print(loss_dict)
                sys.exit(1)
            optimizer.zero_grad()
            losses.backward()
            optimizer.step()
        print(epoch, validation_losses(model, loader_test, device))
    torch.save(detections(model, loader_test, device), 'detections.pt')


if __name__ == "__main__":
    main()
