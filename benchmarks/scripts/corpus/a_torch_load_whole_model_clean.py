# quick test of somebody's checkpoint: python a_torch_load_whole_model_clean.py model.pth img.jpg
import sys
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor, resize

ck = torch.load(sys.argv[1], map_location='cpu')
net = ck['model'] if isinstance(ck, dict) and 'model' in ck else ck
x = resize(to_tensor(Image.open(sys.argv[2]).convert('RGB')), [224, 224]).unsqueeze(0)
with torch.no_grad():
    y = net(x)
print(y.softmax(1).topk(5))

traced = torch.jit.load('scripted.pt')
with torch.no_grad():
    print(traced(x).argmax())
