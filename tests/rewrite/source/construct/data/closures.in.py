# fix: set_argument a|b bias=False
# fix: set_argument drop p=0.25
from torch import nn

make = lambda i, o, bias=True: nn.Conv2d(i, o, 1, bias=bias)  # noqa: E731


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = make(3, 8), make(8, 8)
        self.c = make(8, 8, bias=True)
        self.drop = nn.Dropout(inplace=False)

    def forward(self, x):
        return self.drop(self.c(self.b(self.a(x))))
