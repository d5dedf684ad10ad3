"""Densities as others fit them: each a function of rows to learn from and to choose by, and of seconds it may take."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

Score = Callable[[np.ndarray], np.ndarray]  # log-densities (n,) of rows (n, d)
Peer = Callable[[np.ndarray, np.ndarray, float], Score]  # of training rows, validation rows, CPU-seconds


# ---- classical


def shrunk_gaussian(train: np.ndarray, validation: np.ndarray, seconds: float) -> Score:
    """Ledoit's and Wolf's covariance."""
    fitted = LedoitWolf().fit(train)
    sign, logdet = np.linalg.slogdet(fitted.covariance_)
    assert sign > 0

    def score(x: np.ndarray) -> np.ndarray:
        return -0.5 * (fitted.mahalanobis(x) + logdet + x.shape[1] * math.log(2 * math.pi))

    return score


def kde(train: np.ndarray, validation: np.ndarray, seconds: float) -> Score:
    """Gaussian kernels on the rows or on the whitened rows, with a bandwidth: what is best for the validation rows."""
    whiten = PCA(whiten=True).fit(train)
    spaces = [lambda x: x, whiten.transform]
    volumes = [0.0, -0.5 * float(np.log(whiten.explained_variance_).sum())]

    def score(x: np.ndarray, space: int, width: float) -> np.ndarray:
        to = spaces[space]
        centers, d = torch.as_tensor(to(train)), train.shape[1]
        squares = torch.cdist(torch.as_tensor(to(x)), centers).square()
        constant = volumes[space] - d * math.log(width) - 0.5 * d * math.log(2 * math.pi) - math.log(len(train))
        return ((-0.5 / width**2 * squares).logsumexp(1) + constant).numpy()

    choices = itertools.product((0, 1), np.geomspace(0.02, 2, 41))
    space, width = max(choices, key=lambda choice: score(validation, *choice).mean())
    return partial(score, space=space, width=width)


def gmm(train: np.ndarray, validation: np.ndarray, seconds: float) -> Score:
    """By EM on whitened rows: components, kind and floor of covariances are what is best for the validation rows."""
    began, best, score = time.process_time(), -math.inf, None
    whiten = PCA(whiten=True).fit(train)
    volume = -0.5 * float(np.log(whiten.explained_variance_).sum())
    counts = [k for k in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50, 60, 80) if 4 * k <= len(train)]
    best_k = 1
    for k, floor, kind in itertools.product(counts, (1e-6, 1e-2, 1e-1), ("full", "tied", "diag")):
        if time.process_time() - began > seconds or k > 2 * best_k + 4:
            break
        model = GaussianMixture(k, covariance_type=kind, reg_covar=floor, max_iter=300, random_state=0)
        model.fit(whiten.transform(train))
        if (value := model.score(whiten.transform(validation))) > best:
            best, best_k, score = value, k, model.score_samples
    assert score is not None
    return lambda x: score(whiten.transform(x)) + volume


# ---- flows


@dataclass(frozen=True)
class Adam:
    """How it trains.

    Attributes:
        rate, decay, batch: the first rate, the decay of weights (AdamW's), the rows at a time.
        patience: it ends where nothing got better for as long as it took to get there, and this part of the time.
    """

    rate: float
    decay: float
    batch: int
    patience: float


@dataclass(frozen=True)
class Trained:
    """A flow, trained by Adam with a rate that falls as the time does; the best on the validation rows is kept.

    Attributes:
        make: builds it for so many dimensions: a module whose call is an object with ``log_prob``.
        many, few: how it is trained on 1,000 rows or more, and on fewer.
    """

    make: Callable[[int], nn.Module]
    many: Adam = Adam(5e-3, 1e-5, 256, math.inf)
    few: Adam = Adam(1e-3, 0.1, 32, 0.08)

    def __call__(self, train: np.ndarray, validation: np.ndarray, seconds: float) -> Score:
        center, scale = train.mean(0), train.std(0)

        def tensor(x: np.ndarray) -> Tensor:
            return torch.as_tensor((x - center) / scale, dtype=torch.float32)

        torch.manual_seed(0)
        flow = self.make(train.shape[1])
        self.train(flow, tensor(train), tensor(validation), seconds)
        return lambda x: scores(flow, tensor(x)).double().numpy() - np.log(scale).sum()

    def train(self, flow: nn.Module, train: Tensor, validation: Tensor, seconds: float) -> None:
        """Until the time is over, or nothing gets better for long."""
        began = time.process_time()
        adam = self.many if len(train) >= 1000 else self.few
        optimizer = torch.optim.AdamW(flow.parameters(), lr=adam.rate, weight_decay=adam.decay)
        best, state, when, looked, cost = -math.inf, copy.deepcopy(flow.state_dict()), 0.0, 0.0, 0.0
        for batch in batches(train, adam.batch):
            used = time.process_time() - began
            if used > looked + max(0.005 * seconds, 10 * cost) or used > seconds:  # looking takes a tenth at most
                value = float(scores(flow, validation).mean())
                looked = time.process_time() - began
                cost = looked - used
                if value > best:
                    best, state, when = value, copy.deepcopy(flow.state_dict()), looked
                if used > seconds or used > 2 * when + adam.patience * seconds:
                    break
            for group in optimizer.param_groups:
                group["lr"] = adam.rate * 0.5 * (1 + math.cos(math.pi * min(used / seconds, 1.0)))
            optimizer.zero_grad()
            loss = -flow().log_prob(batch).mean()
            loss.backward()
            if bool(loss.isfinite()):
                nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
                optimizer.step()
        flow.load_state_dict(state)


def batches(x: Tensor, size: int) -> Iterator[Tensor]:
    """Without end, each row once an epoch."""
    while True:
        for rows in torch.randperm(len(x)).split(size):
            if len(rows) >= min(size, len(x)):
                yield x[rows]


@torch.no_grad()
def scores(flow: nn.Module, x: Tensor) -> Tensor:
    """Log-densities, exact ones, shape (n,)."""
    flow.eval()
    values = torch.cat([flow().log_prob(part) for part in x.split(1000)])
    flow.train()
    return values


def nsf(d: int) -> nn.Module:
    """Neural spline flow, autoregressive; of four settings the one that did best on three toys, and as well on wine."""
    import zuko

    return zuko.flows.NSF(d, transforms=5, bins=8, hidden_features=(64, 64))


def maf(d: int) -> nn.Module:
    """Masked autoregressive flow."""
    import zuko

    return zuko.flows.MAF(d, transforms=5, hidden_features=(128, 128))


class ZukoCNF(nn.Module):
    """zuko's continuous flow: an estimated trace for training in more than five dimensions, the exact one otherwise."""

    def __init__(self, d: int) -> None:
        super().__init__()
        import zuko

        self.flow = zuko.flows.CNF(d, hidden_features=(64, 64), atol=1e-4, rtol=1e-4)
        self.exact = d <= 5

    def forward(self) -> Any:
        """The distribution."""
        self.flow.transform.exact = self.exact or not self.training
        return self.flow()


class Ffjord(nn.Module):
    """A tanh network in x and t, 64 wide, integrated with its divergence by torchdiffeq's dopri5.

    The trace is Hutchinson's estimate for training in more than two dimensions, and exact otherwise.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        widths = [d + 1, 64, 64, 64]
        hidden = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.Tanh())]
        self.net, self.d = nn.Sequential(*hidden, nn.Linear(64, d)), d

    def forward(self) -> Ffjord:
        """Itself."""
        return self

    def velocity(self, t: Tensor, x: Tensor) -> Tensor:
        """v(t, x)."""
        return self.net(torch.cat([x, t.expand(len(x), 1)], 1))

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(φ(x)) + ∫ div v."""
        from torchdiffeq import odeint

        axes = torch.eye(self.d).to(x)[:, None].expand(-1, *x.shape)
        probes = [torch.randn_like(x).sign()] if self.training and self.d > 2 else list(axes)

        def motion(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                z = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
                v = self.velocity(t, z)
                grads = [torch.autograd.grad(v, z, e, create_graph=self.training, retain_graph=True)[0] for e in probes]
            return v, (torch.stack(grads) * torch.stack(probes)).sum((0, 2))

        times, tolerance = torch.tensor([0.0, 1.0]), 1e-4 if self.training else 1e-5
        path = odeint(motion, (x, torch.zeros(len(x))), times, rtol=tolerance, atol=tolerance, method="dopri5")
        z, divergence = path[0][-1], path[1][-1]
        return divergence - 0.5 * z.square().sum(1) - 0.5 * self.d * math.log(2 * math.pi)


PEERS: dict[str, Peer] = {
    "shrunk Gaussian": shrunk_gaussian,
    "KDE": kde,
    "GMM": gmm,
    "NSF": Trained(nsf),
    "MAF": Trained(maf),
    "CNF": Trained(ZukoCNF),
    "FFJORD": Trained(Ffjord),
}
OF_ZUKO = ("NSF", "MAF", "CNF")
