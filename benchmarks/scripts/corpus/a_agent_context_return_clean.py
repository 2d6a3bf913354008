import contextlib
from collections import deque
import random

import gymnasium as gym
import torch
import torch.nn.functional as F
from torch import nn


class Agent:
    def __init__(self, n_obs, n_act):
        self.policy = nn.Sequential(nn.Linear(n_obs, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, n_act))
        self.opt = torch.optim.Adam(self.policy.parameters(), lr=1e-3)
        self.memory = deque(maxlen=5000)

    @contextlib.contextmanager
    def evaluation(self):
        self.policy.eval()
        yield
        self.policy.train()

    def act(self, s):
        with self.evaluation(), torch.no_grad():
            return self.policy(torch.as_tensor(s)[None]).argmax(1).item()

    def learn(self):
        if len(self.memory) < 128:
            return
        s, a, r = zip(*random.sample(self.memory, 128))
        weight = torch.tensor(r)
        loss = (F.cross_entropy(self.policy(torch.stack(s)), torch.tensor(a), reduction='none') * weight).mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()


env = gym.make('Acrobot-v1')
agent = Agent(env.observation_space.shape[0], env.action_space.n)
for episode in range(200):
    s, _ = env.reset()
    over, total = False, 0.
    while not over:
        a = agent.act(s)
        s2, r, done, cut, _ = env.step(a)
        agent.memory.append((torch.as_tensor(s), a, float(r)))
        agent.learn()
        s, over, total = s2, done or cut, total + r
    print(episode, total)
