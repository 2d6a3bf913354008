# DQN on Atari-like env, dueling net with layer norm. No batch norm here, by choice.
import collections
import random

import gymnasium as gym
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

Transition = collections.namedtuple('Transition', 's a r s2 d')


class QNet(nn.Module):
    def __init__(self, n_obs, n_act):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_obs, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.adv, self.val = nn.Linear(128, n_act), nn.Linear(128, 1)

    def forward(self, x):
        h = self.body(x)
        a = self.adv(h)
        return self.val(h) + a - a.mean(-1, keepdim=True)


class Agent:
    def __init__(self, env):
        self.env = env
        n_obs, self.n_act = env.observation_space.shape[0], env.action_space.n
        self.policy, self.target = QNet(n_obs, self.n_act), QNet(n_obs, self.n_act)
        self.target.load_state_dict(self.policy.state_dict())
        self.opt = optim.AdamW(self.policy.parameters(), lr=1e-4, amsgrad=True)
        self.mem = collections.deque(maxlen=10000)
        self.steps = 0

    def act(self, s):
        eps = .05 + .85 * np.exp(-self.steps / 1000)
        self.steps += 1
        if random.random() < eps:
            return self.env.action_space.sample()
        with torch.no_grad():
            return self.policy(torch.as_tensor(s)[None]).argmax(1).item()

    def learn(self, bs=128, gamma=.99):
        if len(self.mem) < bs:
            return
        b = Transition(*zip(*random.sample(self.mem, bs)))
        s, s2 = torch.as_tensor(np.stack(b.s)), torch.as_tensor(np.stack(b.s2))
        a, r, d = torch.tensor(b.a), torch.tensor(b.r), torch.tensor(b.d)
        q = self.policy(s).gather(1, a[:, None])[:, 0]
        with torch.no_grad():
            nxt = self.target(s2).max(1).values
        loss = nn.functional.smooth_l1_loss(q, r + gamma * nxt * ~d)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        for tp, pp in zip(self.target.parameters(), self.policy.parameters()):
            tp.data.lerp_(pp.data, .005)

    def evaluate(self, episodes=5):
        total = 0.
        for _ in range(episodes):
            s, _ = self.env.reset()
            done = False
            while not done:
                with torch.no_grad():
                    a = self.policy(torch.as_tensor(s)[None]).argmax(1).item()
                s, r, term, trunc, _ = self.env.step(a)
                done = term or trunc
                total += r
        return total / episodes


env = gym.make('CartPole-v1')
agent = Agent(env)
for ep in range(600):
    s, _ = env.reset()
    done = False
    while not done:
        a = agent.act(s)
        s2, r, term, trunc, _ = env.step(a)
        done = term or trunc
        agent.mem.append(Transition(s, a, float(r), s2, term))
        agent.learn()
        s = s2
    if ep % 50 == 0:
        print(ep, agent.evaluate())
