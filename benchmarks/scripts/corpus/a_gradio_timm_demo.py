import gradio as gr
import timm
import torch

MODEL_NAME = "convnext_tiny.fb_in1k"
model = timm.create_model(MODEL_NAME, pretrained=True)
model.eval()
cfg = timm.data.resolve_data_config({}, model=model)
transform = timm.data.create_transform(**cfg)
labels = [line.strip() for line in open("imagenet_classes.txt")]


@torch.no_grad()
def classify(img):
    if img is None:
        return {}
    x = transform(img.convert("RGB")).unsqueeze(0)
    p = torch.nn.functional.softmax(model(x)[0], dim=0)
    return {labels[i]: float(p[i]) for i in p.topk(5).indices}


demo = gr.Interface(fn=classify, inputs=gr.Image(type="pil"), outputs=gr.Label(num_top_classes=5), title=MODEL_NAME)
demo.launch(share=True)
