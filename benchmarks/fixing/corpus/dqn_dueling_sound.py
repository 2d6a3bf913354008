# mistakes: none; models: DuelingDQN(); input: 4x4x44x44
import torch
import torch.nn as nn

class DuelingDQN(nn.Module):
    def __init__(self, n_actions = 6):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(4, 16, kernel_size=8, stride=4), nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=4, stride=2), nn.ReLU())
        self.value     = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 1))
        self.advantage = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, n_actions))

    def forward(self, obs):
        x = self.conv(obs / 255.).view(obs.size(0), -1)
        v, a = self.value(x), self.advantage(x)
        return v + a - a.mean(1, keepdim = True)

    @torch.no_grad()
    def act(self, obs): return self.forward(obs).argmax(1)
