import random
from collections import deque, namedtuple

import gymnasium as gym
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

Transition = namedtuple('Transition', 's a r s2 done')


class Dueling(nn.Module):
    def __init__(self, obs, act):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs, 128), nn.ReLU(), nn.Linear(128, 128), nn.LayerNorm(128), nn.ReLU())
        self.adv, self.val = nn.Linear(128, act), nn.Linear(128, 1)

    def forward(self, x):
        h = self.body(x)
        a = self.adv(h)
        return self.val(h) + a - a.mean(-1, keepdim=True)


class Agent:
    def __init__(self, obs, act, gamma=0.99, tau=5e-3, lr=3e-4):
        self.q, self.target = Dueling(obs, act), Dueling(obs, act)
        self.target.load_state_dict(self.q.state_dict())
        self.target.eval()
        self.opt = torch.optim.Adam(self.q.parameters(), lr)
        self.buf = deque(maxlen=100_000)
        self.act_dim, self.gamma, self.tau = act, gamma, tau

    def act(self, s, eps):
        if random.random() < eps:
            return random.randrange(self.act_dim)
        with torch.no_grad():
            return int(self.q(torch.as_tensor(s).float()).argmax())

    def learn(self, n=64):
        if len(self.buf) < 1000:
            return
        b = Transition(*map(np.array, zip(*random.sample(self.buf, n))))
        s, s2 = torch.as_tensor(b.s).float(), torch.as_tensor(b.s2).float()
        a, r, d = torch.as_tensor(b.a), torch.as_tensor(b.r).float(), torch.as_tensor(b.done).float()
        with torch.no_grad():
            best = self.q(s2).argmax(-1, keepdim=True)
            y = r + self.gamma * (1 - d) * self.target(s2).gather(-1, best).squeeze(-1)
        loss = F.smooth_l1_loss(self.q(s).gather(-1, a[:, None]).squeeze(-1), y)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        for p, t in zip(self.q.parameters(), self.target.parameters()):
            t.data.lerp_(p.data, self.tau)


def play(env, agent, eps, learn=True):
    (s, _), total, done = env.reset(), 0., False
    while not done:
        a = agent.act(s, eps)
        s2, r, term, trunc, _ = env.step(a)
        done = term or trunc
        if learn:
            agent.buf.append(Transition(s, a, r, s2, term))
            agent.learn()
        s, total = s2, total + r
    return total


def main():
    env = gym.make('LunarLander-v2')
    agent = Agent(env.observation_space.shape[0], env.action_space.n)
    for ep in range(1000):
        ret = play(env, agent, max(0.01, 0.995 ** ep))
        if ep % 25 == 0:
            print(ep, ret, 'greedy', np.mean([play(env, agent, 0., learn=False) for _ in range(5)]))
    torch.save(agent.q.state_dict(), 'dqn.pt')


if __name__ == '__main__':
    main()
