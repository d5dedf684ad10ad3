"""Residual networks with fixed inner weights, trained on digits: depth does not matter, width does. (about 45 s)

The experiment of Barboni, Peyré & Vialard (arXiv 2112.05531) on the digits that come with scikit-learn: a fixed random
read-in, residual convolutions of which only the outer one is learned, a fixed random read-out, descent in V. In this
linear parametrization the loss obeys a Polyak–Łojasiewicz inequality with a constant that is measured on the way:
the second panel shows the decay it promises beside the one that comes.
"""

import math
from functools import partial
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor

import diffeo
from diffeo.diagnostics import curvature, gradient_in_v
from diffeo.viz.scales import logarithmic
from diffeo.viz.style import GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, caption

SHAPE = (8, 4, 4)  # of the encoded images: channels, height, width
LOOKS = ((SKY, "-"), (ORANGE, "--"), (GREEN, "-."))


def encoded(count: int) -> tuple[Tensor, Tensor]:
    """Digits behind a fixed random convolution, shape (count, 128), of mean size 4; one-hot labels (count, 10)."""
    pixels, label = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels[:count]).float().reshape(-1, 1, 8, 8) / 16
    taps = torch.randn(SHAPE[0], 1, 3, 3, generator=torch.Generator().manual_seed(0)) / 3
    x = torch.nn.functional.conv2d(images, taps, stride=2, padding=1).relu().flatten(1)
    return 4 * x / x.norm(dim=1).mean(), torch.nn.functional.one_hot(torch.from_numpy(label[:count]), 10).float()


# region
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


# endregion


def promised(x: Tensor, y: Tensor, iterations: int) -> tuple[list[float], list[float], list[float]]:
    """The loss along gradient descent in V, and what measured constants m = ‖∇J‖²/2J say it may be at most.

    A step of rate η multiplies J by at most 1 − 2mη(1 − ηβ/2), β bounding the Hessian: by the constant of each step,
    and by the smallest of all, which is a linear rate.
    """
    rate, (phi, loss) = 0.005, network(10, 16)
    pairs = [(diffeo.Points(x), y)]
    measured, hessian = [gradient_in_v(phi, pairs, loss)], curvature(phi, pairs, loss)
    sgd = diffeo.InV(partial(torch.optim.SGD, lr=rate))
    watch = [lambda _: measured.append(gradient_in_v(phi, pairs, loss))]
    options = {"max_iterations": iterations, "tolerance": None, "callbacks": watch}
    diffeo.fit(phi, pairs, loss, weight=0, optimizer=sgd, **options)
    beta = 1.5 * max(
        hessian, curvature(phi, pairs, loss)
    )  # the power method finds it from below, and J bends on the way
    losses = [value for value, _ in measured]
    factors = [1 - rate * (1 - rate * beta / 2) * slope**2 / value for value, slope in measured[:-1]]
    bound = [losses[0] * math.prod(factors[:k]) for k in range(len(losses))]
    return losses, bound, [losses[0] * max(factors) ** k for k in range(len(losses))]


def main(
    count: int = 300, epochs: int = 30, iterations: int = 400, out: Path = ASSETS / "rkhs_node.png"
) -> dict[str, float]:
    """Train networks of several depths and widths, and draw their losses."""
    x, y = encoded(count)
    figure = Figure(figsize=(WIDTH, 3.1))
    edges = {"left": 0.055, "right": 0.99, "bottom": 0.155, "top": 0.895, "wspace": 0.2}
    axes = figure.subplots(1, 3, gridspec_kw=edges)
    last: dict[str, float] = {}
    for k, (depth, (color, dash)) in enumerate(zip((5, 10, 20), LOOKS, strict=True)):
        losses = curve(x, y, depth, 16, epochs)
        last[f"depth {depth}"] = losses[-1]
        axes[0].plot(losses, color=color, ls=dash, lw=5 - 1.5 * k, label=f"depth {depth}, width 16")
    for hidden, (color, dash) in zip((4, 16, 48), LOOKS, strict=True):
        losses = curve(x, y, 10, hidden, epochs)
        last[f"width {hidden}"] = losses[-1]
        axes[2].plot(losses, color=color, ls=dash, lw=2, label=f"depth 10, width {hidden}")
    losses, bound, slowest = promised(x[:60], y[:60], iterations)
    axes[1].plot(losses, color=INK, lw=2, label="loss")
    axes[1].plot(bound, color=VERMILION, lw=2, ls="--", label="by the constant of each step")
    axes[1].plot(slowest, color=PURPLE, lw=2, ls=":", label="by the smallest constant")
    for ax, title in zip(axes, ("Any depth", "No slower than promised", "Wider is faster"), strict=True):
        caption(ax, title)
        logarithmic(
            ax,
            "step of gradient descent on 60 digits" if ax is axes[1] else "epoch",
            "training loss" if ax is axes[0] else "",
        )
    save(figure, out)
    print(", ".join(f"{name}: {value:.2e}" for name, value in last.items()))
    assert max(last["depth 5"], last["depth 20"]) < 2 * min(last["depth 5"], last["depth 20"])
    assert last["width 48"] < last["width 4"]
    for value, most, linear in zip(losses, bound, slowest, strict=True):
        assert value <= most * (1 + 1e-6) <= linear * (1 + 2e-6)
    return last


if __name__ == "__main__":
    main()
