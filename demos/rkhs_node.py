"""Residual networks with fixed inner weights, trained on digits: depth does not matter, width does. (about 1 min)

The experiment of Barboni, Peyré & Vialard (arXiv 2112.05531) on the digits that come with scikit-learn: a fixed random
read-in, residual convolutions of which only the outer one is learned, a fixed random read-out, descent in V. In this
linear parametrization the loss obeys a Polyak–Łojasiewicz inequality with a constant that is measured on the way:
the second panel shows the decay it promises beside the one that comes.
"""

import math
from functools import partial
from pathlib import Path

import torch
from _made import ASSETS, save
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor

import diffeo

SHAPE = (8, 4, 4)  # of the encoded images: channels, height, width
COLORS = ("#56B4E9", "#E69F00", "#007A5A")


def encoded(count: int) -> tuple[Tensor, Tensor]:
    """Digits behind a fixed random convolution, shape (count, 128), of mean size 4; one-hot labels (count, 10)."""
    pixels, label = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels[:count]).float().reshape(-1, 1, 8, 8) / 16
    taps = torch.randn(SHAPE[0], 1, 3, 3, generator=torch.Generator().manual_seed(0)) / 3
    x = torch.nn.functional.conv2d(images, taps, stride=2, padding=1).relu().flatten(1)
    return 4 * x / x.norm(dim=1).mean(), torch.nn.functional.one_hot(torch.from_numpy(label[:count]), 10).float()


def network(depth: int, hidden: int) -> tuple[diffeo.Flow, diffeo.SquaredLoss]:
    """Midpoint layers of that hidden width, and a read-out that stays as it was drawn."""
    phi = diffeo.Flow(diffeo.ConvField(SHAPE, hidden), diffeo.Midpoint(), depth)
    return phi, diffeo.SquaredLoss(diffeo.LinearReadOut(128, 10, trained=False))


def curve(x: Tensor, y: Tensor, depth: int, hidden: int, epochs: int) -> list[float]:
    """The training loss after every epoch of minibatches."""
    phi, loss = network(depth, hidden)
    sgd = diffeo.InV(partial(torch.optim.SGD, lr=0.1))
    data = diffeo.Batches(x, y, 50)
    history = diffeo.fit(phi, data, loss, weight=0, optimizer=sgd, max_iterations=epochs)
    return [record.data for record in history.records]


def promised(x: Tensor, y: Tensor, iterations: int) -> tuple[list[float], list[float]]:
    """The loss along gradient descent in V, and what the constant m = ‖∇J‖²/2J measured on the way says it may be."""
    rate, (phi, loss) = 0.005, network(10, 16)
    losses: list[float] = []
    promise: list[float] = []
    bound = math.inf
    for _ in range(iterations):
        value = diffeo.objective(phi, [(diffeo.Points(x), y)], loss, 0.0).total
        phi.zero_grad()
        value.backward()
        loss_now = float(value.detach())
        slopes = [(p.detach(), factor * p.grad) for p, factor in phi.rates() if p.grad is not None]  # gradients in V
        constant = sum(
            float((slope.square() / factor).sum()) for (_, slope), (_, factor) in zip(slopes, phi.rates(), strict=True)
        )
        losses.append(loss_now)
        promise.append(min(bound, loss_now) if not promise else bound)
        bound = promise[-1] * math.exp(-rate * constant / loss_now)  # e^{−2mη}
        for p, slope in slopes:
            p -= rate * slope
    return losses, promise


def main(
    count: int = 300, epochs: int = 30, iterations: int = 400, out: Path = ASSETS / "rkhs_node.png"
) -> dict[str, float]:
    """Train networks of several depths and widths, and draw their losses."""
    x, y = encoded(count)
    figure = Figure(figsize=(13.5, 4.2))
    axes = [figure.add_axes((0.075 + 0.325 * k, 0.14, 0.255, 0.74)) for k in range(3)]
    last: dict[str, float] = {}
    for k, depth in enumerate((5, 10, 20)):
        losses = curve(x, y, depth, 16, epochs)
        last[f"depth {depth}"] = losses[-1]
        axes[0].semilogy(losses, color=COLORS[k], lw=5 - 1.5 * k, label=f"depth {depth}, width 16")
    for k, hidden in enumerate((4, 16, 48)):
        losses = curve(x, y, 10, hidden, epochs)
        last[f"width {hidden}"] = losses[-1]
        axes[2].semilogy(losses, color=COLORS[k], lw=2, label=f"depth 10, width {hidden}")
    gaps, promise = promised(x[:60], y[:60], iterations)
    axes[1].semilogy(gaps, color="#222222", lw=2, label="loss")
    axes[1].semilogy(promise, color="#D55E00", lw=2, ls="--", label="promised by the measured constant")
    for ax, title in zip(axes, ("any depth", "at least as fast as promised", "wider is faster"), strict=True):
        ax.set_title(title, loc="left", fontsize=11)
        ax.set(xlabel="epoch", ylabel="training loss")
        ax.legend(frameon=False, fontsize=9)
    axes[1].set(xlabel="step of gradient descent on 60 digits")
    save(figure, out)
    print(", ".join(f"{name}: {value:.2e}" for name, value in last.items()))
    assert max(last["depth 5"], last["depth 20"]) < 2 * min(last["depth 5"], last["depth 20"])
    assert last["width 48"] < last["width 4"]
    assert all(gap <= 1.02 * bound for gap, bound in zip(gaps, promise, strict=True))
    return last


if __name__ == "__main__":
    main()
