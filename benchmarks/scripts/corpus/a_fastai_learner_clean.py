from fastai.vision.all import *
import torch.nn as nn

path = untar_data(URLs.PETS) / 'images'


def is_cat(x): return x[0].isupper()


dls = ImageDataLoaders.from_name_func(path, get_image_files(path), valid_pct=.2, seed=42, label_func=is_cat, item_tfms=Resize(224))


class Head(nn.Module):
    def __init__(self, nf, n):
        super().__init__()
        self.layers = nn.Sequential(AdaptiveConcatPool2d(), Flatten(), nn.BatchNorm1d(2 * nf), nn.Dropout(.25), nn.Linear(2 * nf, n))

    def forward(self, x): return self.layers(x)


body = create_body(resnet34(pretrained=True))
model = nn.Sequential(body, Head(512, dls.c))
learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=error_rate, wd=0.)
learn.fine_tune(2)
preds, targs = learn.get_preds()
print((preds.argmax(1) == targs).float().mean())
interp = ClassificationInterpretation.from_learner(learn)
interp.plot_top_losses(9)
img = PILImage.create('cat.jpg')
is_cat, _, probs = learn.predict(img)
learn.export('pets.pkl')
