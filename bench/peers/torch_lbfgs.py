"""PyTorch: L-BFGS for a stack of heads by hand, each with its own history and step length.

All heads that are still going are one product, forward and backward; a head leaves when it is as
good as was asked.
"""

from typing import Any

import torch

HISTORY, MOST_ROUNDS, SHORTEST, DECREASE = 10, 20_000, 1e-6, 1e-4


class _Objective:
    """The mean cross-entropy plus (l2/2)‖W‖² of each head at θ (d + 1, h, c), W over b."""

    def __init__(self, X, y, c, l2):
        self.X, self.y, self.c, self.l2 = X, y, c, l2

    def __call__(self, theta):
        n, (_, h, c) = len(self.X), theta.shape
        W, b = theta[:-1], theta[-1]
        V = torch.addmm(b.reshape(-1), self.X, W.reshape(len(W), -1)).view(n, h, c)
        log_sum = V.logsumexp(2)
        at = self.y[:, None, None].expand(n, h, 1)
        loss = (log_sum - V.gather(2, at)[:, :, 0]).sum(0, dtype=torch.float64) / n
        P = V.sub_(log_sum[:, :, None]).exp_()
        P.scatter_add_(2, at, torch.full_like(at, -1, dtype=P.dtype)).div_(n)
        g = torch.empty_like(theta)
        torch.mm(self.X.T, P.view(n, -1), out=g[:-1].view(len(W), -1))
        g[:-1] += self.l2[:, None] * W
        g[-1] = P.sum(0)
        return loss + self.l2.double() / 2 * (W.double() ** 2).sum((0, 2)), g

    def take(self, heads):
        return _Objective(self.X, self.y, self.c, self.l2[heads])


def _dots(a, b):
    return torch.einsum("dhc,dhc->h", a, b)


def _direction(g, pairs):
    """-H g by the two loops, of pairs (s, y, ρ); ρ is 0 where a pair says nothing."""
    q, alphas = g.clone(), []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * _dots(s, q))
        q -= alphas[-1][:, None] * y
    if pairs:
        s, y, rho = pairs[-1]
        q *= torch.where(rho > 0, 1 / (rho * _dots(y, y)), 1)[:, None]
    else:
        q /= _dots(g, g).sqrt()[:, None]
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        q += torch.where(rho > 0, alpha - rho * _dots(y, q), 0)[:, None] * s
    return -q


def stacked(X: Any, y: Any, c: int, l2: Any, goals: Any) -> Any:
    """θ (h, d + 1, c) of heads with these l2, each at its first point that is at most its goal."""
    X, y, l2, goals = map(torch.from_numpy, (X, y, l2.astype("f4"), goals))
    f_of, going = _Objective(X, y, c, l2), torch.arange(len(l2))
    theta = torch.zeros(X.shape[1] + 1, len(l2), c)
    found = theta.clone()
    pairs: list[Any] = []
    with torch.inference_mode():
        f, g = f_of(theta)
        direction, step = _direction(g, pairs), torch.ones(len(l2))
        for _ in range(MOST_ROUNDS):
            trial = theta + step[:, None] * direction
            f_trial, g_trial = f_of(trial)
            taken = f_trial <= f + DECREASE * (step * _dots(g, direction)).double()
            s, change = trial - theta, g_trial - g
            sy = _dots(s, change)
            says = taken & (sy > 1e-7 * (_dots(s, s) * _dots(change, change)).sqrt())
            if says.any():
                pairs = [*pairs, (s, change, torch.where(says, 1 / sy, 0))][-HISTORY:]
            theta = torch.where(taken[:, None], trial, theta)
            f, g = torch.where(taken, f_trial, f), torch.where(taken[:, None], g_trial, g)
            following = _direction(g, pairs)
            direction = torch.where(taken[:, None], following, direction)
            step = torch.where(taken, 1, step / 2)
            over = (f <= goals) | (step < SHORTEST)
            if over.any():
                found[:, going[over]] = theta[:, over]
                stay = torch.nonzero(~over)[:, 0]
                if not len(stay):
                    break
                going, goals, step, f = (x[stay] for x in (going, goals, step, f))
                theta, g, direction = (x[:, stay] for x in (theta, g, direction))
                pairs = [(s[:, stay], y_[:, stay], rho[stay]) for s, y_, rho in pairs]
                f_of = f_of.take(stay)
        else:
            found[:, going] = theta
    return found.permute(1, 0, 2).contiguous().numpy()
