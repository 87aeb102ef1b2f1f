"""PyTorch: L-BFGS for a stack of heads by hand, each with its own history and step length.

All heads that are still going are one product, forward and backward; a head leaves when it is as
good as was asked.
"""

import time
from typing import Any

import torch

HISTORY, MOST_ROUNDS, SHORTEST, DECREASE = 20, 20_000, 1e-6, 1e-4
LOGITS = 1 << 20  # computed at once, which a cache holds


class _Objective:
    """The mean cross-entropy plus (l2/2)‖W‖² of each head at θ (h, d + 1, c), W over b."""

    def __init__(self, X, y, c, l2):
        self.X, self.y, self.c, self.l2 = X, y, c, l2

    def __call__(self, theta):
        (n, d), h = self.X.shape, len(theta)
        columns = theta.transpose(0, 1).reshape(d + 1, h * self.c)
        loss, (dW, db) = torch.zeros(h, dtype=torch.float64), torch.zeros_like(columns).split(d)
        rows = max(1, LOGITS // (h * self.c))
        for X, y in zip(self.X.split(rows), self.y.split(rows), strict=True):
            V = torch.addmm(columns[d], X, columns[:d]).view(len(X), h, self.c)
            log_sum, at = V.logsumexp(2), y[:, None, None].expand(len(X), h, 1)
            loss += (log_sum - V.gather(2, at)[:, :, 0]).sum(0, dtype=torch.float64)
            P = V.sub_(log_sum[:, :, None]).exp_()
            P.scatter_add_(2, at, torch.full_like(at, -1, dtype=P.dtype))
            P = P.view(len(X), -1)
            dW.addmm_(X.T, P)
            db += P.sum(0)
        g = torch.cat((dW, db)).div_(n).view(d + 1, h, self.c).transpose(0, 1).contiguous()
        W = theta[:, :d]
        g[:, :d] += self.l2[:, None, None] * W
        return loss / n + self.l2.double() / 2 * (W.double() ** 2).sum((1, 2)), g

    def take(self, heads):
        return _Objective(self.X, self.y, self.c, self.l2[heads])


def _dots(a, b):
    return torch.einsum("hdc,hdc->h", a, b)


def _times(factors, a):
    return factors[:, None, None] * a


class _Pairs:
    """The last pairs (s, y) of each head, 1/(s·y) of each; that is 0 where there is none."""

    def __init__(self, s, y, rho, following):
        self.s, self.y, self.rho, self.following = s, y, rho, following

    @classmethod
    def none(cls, like):
        s, y = torch.zeros(2, HISTORY, *like.shape)
        return cls(s, y, torch.zeros(HISTORY, len(like)), torch.zeros(len(like), dtype=torch.long))

    def take(self, heads):
        each = (x[:, heads] for x in (self.s, self.y, self.rho))
        return _Pairs(*each, self.following[heads])

    def add(self, s, y, heads):
        """Of these heads, over the oldest that each has."""
        at = self.following[heads], heads
        self.s[at], self.y[at] = s[heads], y[heads]
        self.rho[at] = 1 / _dots(s[heads], y[heads])
        self.following[heads] = (self.following[heads] + 1) % HISTORY

    def from_the_last(self):
        """(s, y, rho) of all heads, the last pair of each first."""
        each = torch.arange(len(self.following))
        for k in range(1, HISTORY + 1):
            at = (self.following - k) % HISTORY, each
            if self.rho[at].any():
                yield self.s[at], self.y[at], self.rho[at]

    def direction(self, g):
        """-H g by the two loops."""
        q, pairs, alphas = g.clone(), list(self.from_the_last()), []
        for s, y, rho in pairs:
            alphas.append(rho * _dots(s, q))
            q -= _times(alphas[-1], y)
        if pairs:
            s, y, rho = pairs[0]
            q *= torch.where(rho > 0, 1 / (rho * _dots(y, y)), 1)[:, None, None]
        else:
            q /= _dots(g, g).sqrt()[:, None, None]
        for (s, y, rho), alpha in zip(reversed(pairs), reversed(alphas), strict=True):
            q += _times(torch.where(rho > 0, alpha - rho * _dots(y, q), 0), s)
        return -q


def stacked(X: Any, y: Any, c: int, l2: Any, goals: Any, most_seconds: float) -> tuple[Any, Any]:
    """θ (h, d + 1, c) of heads with these l2, each at its first point that is at most its goal.

    After `most_seconds` it is broken off. Also returned: (h,), which heads are not there yet.
    """
    end = time.perf_counter() + most_seconds
    X, y, l2, goals = map(torch.from_numpy, (X, y, l2.astype("f4"), goals))
    f_of, going = _Objective(X, y, c, l2), torch.arange(len(l2))
    theta = torch.zeros(len(l2), X.shape[1] + 1, c)
    found, pairs = theta.clone(), _Pairs.none(theta)
    with torch.inference_mode():
        f, g = f_of(theta)
        direction, step = pairs.direction(g), torch.ones(len(l2))
        for _ in range(MOST_ROUNDS):
            if not len(going) or time.perf_counter() > end:
                break
            trial = theta + _times(step, direction)
            f_trial, g_trial = f_of(trial)
            taken = f_trial <= f + DECREASE * (step * _dots(g, direction)).double()
            s, change = trial - theta, g_trial - g
            says = _dots(s, change) > 1e-7 * (_dots(s, s) * _dots(change, change)).sqrt()
            pairs.add(s, change, torch.nonzero(taken & says)[:, 0])
            theta[taken], f[taken], g[taken] = trial[taken], f_trial[taken], g_trial[taken]
            direction[taken] = pairs.direction(g)[taken]
            step = torch.where(taken, 1, step / 2)
            over = (f <= goals) | (step < SHORTEST)
            if over.any():
                found[going[over]] = theta[over]
                stay = torch.nonzero(~over)[:, 0]
                going, goals, step, f = (x[stay] for x in (going, goals, step, f))
                theta, g, direction = (x[stay] for x in (theta, g, direction))
                pairs, f_of = pairs.take(stay), f_of.take(stay)
        found[going] = theta
        left = torch.zeros(len(found), dtype=torch.bool)
        left[going] = True
    return found.numpy(), left.numpy()
