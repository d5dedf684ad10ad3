"""Training a residual network converges at a linear rate, and the rate is proven: watch both. (about 15 s)

Twelve points in the plane, a kernel narrower than what lies between them, twenty residual layers, squared loss behind a
fixed read-out, gradient descent in V. The loss falls to 1e-10 along a straight line on a log scale, never slower than
the Polyak–Łojasiewicz constant measured on the way says. Gram matrices and Jacobians certify that constant from below
after the fact; where targets are near, the data alone certify it, and convergence, before training begins.
"""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.diagnostics import ConvergenceRecorder, curvature, guarantee, predicted_decay
from diffeo.viz import plot

KERNEL, SAFETY = diffeo.GaussianKernel(0.4), 1.1  # of the curvature along the way over that at the start


def noise(n: int, seed: int) -> Tensor:
    """Normal numbers, shape (n, 2)."""
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# region
def train(size: float, width: int, layers: int, goal: float) -> dict:
    """Points that are to move by about ``size``; what was promised before, and what was measured on the way."""
    x = torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0)).double() + 0.1 * noise(12, 0)
    weight = torch.tensor([[1.0, 0.3], [0.0, 0.9]], dtype=torch.float64)
    loss = diffeo.SquaredLoss(diffeo.LinearReadOut(2, 2, bias=False, trained=False, weight=weight))
    field = diffeo.FeatureField(KERNEL, 2, width, coefficients=x.new_zeros(width, 2))
    phi, pairs = diffeo.Flow(field, steps=layers), [(diffeo.Points(x), loss.head(x + size * noise(12, 1)))]
    promised, beta = guarantee(phi, pairs, loss), SAFETY * curvature(phi, pairs, loss)
    recorder = ConvergenceRecorder(phi, pairs, loss)
    way = diffeo.InV(partial(torch.optim.SGD, lr=0.4 / beta))
    options = {"max_iterations": 600, "tolerance": 0.0, "goal": goal, "callbacks": [recorder]}
    diffeo.fit(phi, pairs, loss, weight=0.0, optimizer=way, **options)
    assert curvature(phi, pairs, loss) < beta
    return {"found": recorder.measurements, "promised": promised, "rate": 0.4 / beta, "beta": beta}


# endregion


def main(width: int = 1000, layers: int = 20, out: Path = ASSETS / "pl.png") -> dict:
    """Far and near targets: train, measure, compare."""
    far, near = train(0.12, width, layers, 1e-10), train(0.0025, width, layers, 1e-14)
    for name, run in (("far", far), ("near", near)):
        found, rate, beta = run["found"], run["rate"], run["beta"]
        for before, after in pairwise(found):
            assert after.gap <= before.gap * (1 - 2 * before.constant * rate * (1 - rate * beta / 2)) * (1 + 1e-9)
            assert before.constant >= before.posterior >= before.prior
        print(f"{name}: {found[0]}\n  {found[-1].iteration} iterations later {found[-1]}")
    assert far["found"][-1].gap <= 1e-10
    assert near["promised"] is not None
    assert all(one.constant >= near["promised"].constant for one in near["found"])
    print(f"near: m ≥ {near['promised'].constant:.3g} was proven before training")
    save(picture(far, near), out)
    return {"far": far, "near": near}


def picture(far: dict, near: dict) -> Figure:
    """Losses with what was promised, and constants."""
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
    titles = (
        "Targets at a third of the kernel's scale",
        "Targets so near that convergence is proven before training",
    )
    for part, run, title in zip(figure.subfigures(2, 1), (far, near), titles, strict=True):
        found, rate, beta = run["found"], run["rate"], run["beta"]
        constants = {"m as measured": None, "m a posteriori": [one.posterior for one in found]}
        if run["promised"] is not None:
            constants["m proven before"] = [run["promised"].constant] * len(found)
        predicted = {name: predicted_decay(found, rate, m, beta) for name, m in constants.items()}
        plot.convergence([replace(one, layers=None) for one in found], predicted, title=title, figure=part)
    return figure


if __name__ == "__main__":
    main()
