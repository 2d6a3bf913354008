"""Two policies for reinforcement learning.

``ActorCritic`` is the usual small one: two tanh layers, action logits, a value. Nothing to report: two tanh layers are not deep,
and a body that ends in two linear heads is no pair of linear layers in a row.
``BatchNormPolicy`` is updated from one transition at a time, as an online method does: batch normalization of a single value
per feature raises an error in training mode.
"""

from torch import nn


class ActorCritic(nn.Module):  # normadvisor: batch_size=64 task=rl
    def __init__(self, observations=8, actions=4, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(observations, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.policy = nn.Linear(width, actions)
        self.value = nn.Linear(width, 1)

    def forward(self, observation):
        x = self.body(observation)
        return self.policy(x), self.value(x)


class BatchNormPolicy(nn.Module):  # normadvisor: batch_size=1 task=rl
    def __init__(self, observations=8, actions=4, width=64):
        super().__init__()
        self.fc1 = nn.Linear(observations, width, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(width, actions)

    def forward(self, observation):
        return self.fc2(self.relu(self.bn1(self.fc1(observation))))
