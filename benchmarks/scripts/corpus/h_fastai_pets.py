#!/usr/bin/env python
# coding: utf-8

# In[1]:

import torch
from fastai.vision.all import *


# In[2]:

path = untar_data(URLs.PETS) / 'images'
dls = ImageDataLoaders.from_name_func(
    path, get_image_files(path), valid_pct=0.2, seed=42,
    label_func=lambda f: f[0].isupper(), item_tfms=Resize(224))


# In[3]:

class Head(Module):
    def __init__(self, nf, n_out):
        self.pool = AdaptiveConcatPool2d()
        self.lin = nn.Sequential(Flatten(), nn.BatchNorm1d(2 * nf), nn.Dropout(0.5), nn.Linear(2 * nf, n_out))

    def forward(self, x):
        return self.lin(self.pool(x))


body = create_body(resnet34(), pretrained=True)
net = nn.Sequential(body, Head(512, dls.c))


# In[4]:

learn = Learner(dls, net, loss_func=CrossEntropyLossFlat(), metrics=[error_rate, accuracy], splitter=lambda m: [params(m[0]), params(m[1])])
learn.lr_find()


# In[5]:

learn.fit_one_cycle(1, 3e-3)
learn.unfreeze()
learn.fit_one_cycle(3, slice(1e-6, 1e-4))


# In[6]:

preds, targs = learn.get_preds(dl=learn.dls.valid)
print('valid acc', (preds.argmax(1) == targs).float().mean())
tta, _ = learn.tta(n=4)
print('tta acc', (tta.argmax(1) == targs).float().mean())


# In[7]:

interp = ClassificationInterpretation.from_learner(learn)
interp.plot_top_losses(9)
learn.export('pets.pkl')


# In[8]:

learn_inf = load_learner('pets.pkl')
print(learn_inf.predict(get_image_files(path)[0]))
