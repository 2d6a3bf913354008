# mistakes: NA501 F.softmax on the logits of a ViT trained with CrossEntropyLoss, NA110 self.norm_pre; models: ViT(); input: 2x3x32x32
import torch
from torch import nn
import torch.nn.functional as F


class EncoderBlock(nn.Module):
    def __init__(self, d, h, mlp_ratio=2., drop=0.):
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, h, dropout=drop, batch_first=True)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, int(d * mlp_ratio)), nn.GELU(), nn.Dropout(drop), nn.Linear(int(d * mlp_ratio), d), nn.Dropout(drop))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, img=32, patch=8, d=32, depth=2, heads=4, n_classes=10):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, d, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(torch.randn(1, (img // patch) ** 2 + 1, d) * .02)
        self.norm_pre = nn.LayerNorm(d)
        self.blocks = nn.Sequential(*[EncoderBlock(d, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, n_classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        x = self.norm(self.blocks(x))
        logits = self.head(x[:, 0])
        return F.softmax(logits, dim=-1)


if __name__ == '__main__':
    model = ViT()
    criterion = nn.CrossEntropyLoss()
    opt = torch.optim.AdamW(model.parameters(), 3e-4)
    for step in range(2):
        x, y = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
        loss = criterion(model(x), y)
        opt.zero_grad(); loss.backward(); opt.step()
