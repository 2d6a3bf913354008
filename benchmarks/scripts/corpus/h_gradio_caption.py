import gradio as gr
import torch
from diffusers import StableDiffusionPipeline
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BlipForConditionalGeneration, BlipProcessor

device = "cuda" if torch.cuda.is_available() else "cpu"
processor = BlipProcessor.from_pretrained("Salesforce/blip-image-captioning-base")
captioner = BlipForConditionalGeneration.from_pretrained("Salesforce/blip-image-captioning-base").to(device)
tok = AutoTokenizer.from_pretrained("unitary/toxic-bert")
filter_model = AutoModelForSequenceClassification.from_pretrained("unitary/toxic-bert").to(device)
pipe = StableDiffusionPipeline.from_pretrained("runwayml/stable-diffusion-v1-5", torch_dtype=torch.float16).to(device)


@torch.no_grad()
def is_toxic(text):
    enc = tok(text, return_tensors="pt", truncation=True).to(device)
    return filter_model(**enc).logits.sigmoid().max().item() > 0.5


@torch.no_grad()
def caption(image):
    inputs = processor(image, return_tensors="pt").to(device)
    out = captioner.generate(**inputs, max_new_tokens=30)
    return processor.decode(out[0], skip_special_tokens=True)


def imagine(image, style, steps):
    text = f"{caption(image)}, {style}"
    if is_toxic(text):
        raise gr.Error("Rejected by the filter")
    return text, pipe(text, num_inference_steps=int(steps)).images[0]


with gr.Blocks() as demo:
    gr.Markdown("# Re-imagine a photo")
    with gr.Row():
        src = gr.Image(type="pil")
        dst = gr.Image()
    style = gr.Dropdown(["oil painting", "pixel art", "blueprint"], value="oil painting")
    steps = gr.Slider(5, 50, value=20)
    text = gr.Textbox(label="Prompt")
    gr.Button("Go").click(imagine, [src, style, steps], [text, dst])

if __name__ == "__main__":
    demo.queue().launch()
