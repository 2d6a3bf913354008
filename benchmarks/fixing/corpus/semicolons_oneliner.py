# mistakes: NA102 at c1 and c2, NA105 at the end of the semicolon line; models: M(); input: 4x3x16x16
import torch, torch.nn as nn, torch.nn.functional as F
class M(nn.Module):
  def __init__(s):
    super().__init__(); s.c1=nn.Conv2d(3,8,3); s.b1=nn.BatchNorm2d(8); s.c2=nn.Conv2d(8,16,3); s.b2=nn.BatchNorm2d(16); s.f=nn.Linear(16,10)
  def forward(s,x):
    x=s.c1(x); x=s.b1(x); x=F.relu(x); x=F.relu(x)
    x=F.relu(s.b2(s.c2(x))); return s.f(x.mean((2,3)))
