"""DDPG for continuous control (actor with batch normalization)."""
import copy
from collections import deque
from random import sample

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Actor(nn.Module):
    def __init__(self, s, a, hidden=(400, 300)):
        super().__init__()
        self.bn0 = nn.BatchNorm1d(s)
        self.fc1 = nn.Linear(s, hidden[0])
        self.bn1 = nn.BatchNorm1d(hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.out = nn.Linear(hidden[1], a)

    def forward(self, s):
        h = F.relu(self.bn1(self.fc1(self.bn0(s))))
        return torch.tanh(self.out(F.relu(self.fc2(h))))


class Critic(nn.Module):
    def __init__(self, s, a):
        super().__init__()
        self.fc1, self.fc2, self.q = nn.Linear(s, 400), nn.Linear(400 + a, 300), nn.Linear(300, 1)

    def forward(self, s, a):
        return self.q(F.relu(self.fc2(torch.cat([F.relu(self.fc1(s)), a], 1))))


class DDPG:
    def __init__(self, n_s, n_a):
        self.actor, self.critic = Actor(n_s, n_a), Critic(n_s, n_a)
        self.actor_t, self.critic_t = copy.deepcopy(self.actor).eval(), copy.deepcopy(self.critic)
        self.opt_a = torch.optim.Adam(self.actor.parameters(), 1e-4)
        self.opt_c = torch.optim.Adam(self.critic.parameters(), 1e-3)
        self.memory = deque(maxlen=int(1e6))

    def act(self, state, noise):
        state = torch.from_numpy(state).float().unsqueeze(0)
        self.actor.eval()
        with torch.no_grad():
            action = self.actor(state).numpy()[0]
        self.actor.train()
        return np.clip(action + noise * np.random.randn(*action.shape), -1, 1)

    def learn(self, n=64, gamma=.99, tau=1e-3):
        if len(self.memory) < n:
            return
        s, a, r, s2, d = (torch.as_tensor(np.array(v), dtype=torch.float32) for v in zip(*sample(self.memory, n)))
        with torch.no_grad():
            y = r[:, None] + gamma * (1 - d[:, None]) * self.critic_t(s2, self.actor_t(s2))
        c_loss = F.mse_loss(self.critic(s, a), y)
        self.opt_c.zero_grad()
        c_loss.backward()
        self.opt_c.step()
        a_loss = -self.critic(s, self.actor(s)).mean()
        self.opt_a.zero_grad()
        a_loss.backward()
        self.opt_a.step()
        for t, m in ((self.actor_t, self.actor), (self.critic_t, self.critic)):
            with torch.no_grad():
                for tp, p in zip(t.parameters(), m.parameters()):
                    tp.copy_(tau * p + (1 - tau) * tp)
                for tb, b in zip(t.buffers(), m.buffers()):
                    tb.copy_(b)


def main():
    env = gymnasium.make("Pendulum-v1")
    agent = DDPG(env.observation_space.shape[0], env.action_space.shape[0])
    for episode in range(300):
        s, _ = env.reset()
        score, over = 0., False
        while not over:
            a = agent.act(s, .1)
            s2, r, term, trunc, _ = env.step(a)
            over = term or trunc
            agent.memory.append((s, a, r, s2, float(term)))
            agent.learn()
            s, score = s2, score + r
        print(episode, score)


if __name__ == "__main__":
    main()
