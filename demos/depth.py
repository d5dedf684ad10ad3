"""Ten layers or a thousand, at one learning rate. (about 70 s)

A layer's share of the energy ½∫‖v_t‖² dt is 1/L, so the gradient in that metric is L times the Euclidean one. Along
it the network learns the same thing at the same speed, however deep it is, and its layers tend to a velocity that
depends continuously on depth; along the Euclidean gradient a deep network hardly moves at the rate of a shallow one.
"""

from functools import partial
from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from spirals import spirals

import diffeo
from diffeo.viz.scales import logarithmic
from diffeo.viz.style import BLUE, FAINT, GREEN, ORANGE, SKY, caption, dress

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True)
LOOKS = ((SKY, "-"), (ORANGE, "--"), (GREEN, "-."), (BLUE, "-"))


# region
def train(depth: int, optimizer: diffeo.Method | partial, n: int, iterations: int) -> tuple[list[float], list[float]]:
    """The losses of a network of that depth, iteration by iteration, and the sizes of its steps in depth."""
    x, label = spirals(n, turns=0.9)
    field = diffeo.FeatureField(diffeo.GaussianKernel(0.4), dim=2, width=64)
    phi = diffeo.Flow(field, diffeo.Euler(), depth)
    loss = diffeo.SquaredLoss(diffeo.LinearReadOut(2, 2, trained=False))
    target = torch.nn.functional.one_hot(label).float()
    history = diffeo.fit(
        phi,
        [(diffeo.Points(x), target)],
        loss,
        weight=1e-4,
        optimizer=optimizer,
        max_iterations=iterations,
        tolerance=0,
    )
    theta = torch.stack([velocity.coefficients.detach() for velocity in phi.layer_fields()])
    return [record.data for record in history.records], theta.norm(dim=(1, 2)).tolist()


# endregion


def main(
    depths: tuple[int, ...] = (10, 30, 100, 1000), n: int = 40, iterations: int = 60, out: Path = ASSETS / "depth.png"
) -> float:
    """Train networks of all depths at one rate, in V and not."""
    figure = Figure(figsize=(WIDTH, 3.1))
    edges = {"left": 0.055, "right": 0.99, "bottom": 0.155, "top": 0.895, "wspace": 0.26}
    axes = figure.subplots(1, 3, gridspec_kw=edges)
    last: dict[str, list[float]] = {"in V": [], "Euclidean": []}
    for k, (depth, (color, dash)) in enumerate(zip(depths, LOOKS, strict=False)):
        for ax, (name, optimizer) in zip(axes, (("in V", diffeo.InV(SGD)), ("Euclidean", SGD)), strict=False):
            losses, norms = train(depth, optimizer, n, iterations)
            last[name].append(losses[-1])
            width = 2 + 1.6 * (len(depths) - k) if name == "in V" else 2  # the curves lie on top of each other
            ax.plot(losses, color=color, ls=dash, lw=width, label=f"{depth} layers")
            if name == "in V":
                at = torch.linspace(0, 1, depth + 1)
                axes[2].stairs(norms, at, color=color, ls=dash, lw=1.6, baseline=None)
        print(f"{depth:5} layers: loss {last['in V'][-1]:.4f} in V, {last['Euclidean'][-1]:.4f} Euclidean")
    titles = "Gradient in V", "Euclidean gradient, same rate", "‖v‖ of the layers, in V"
    for ax, title in zip(axes, titles, strict=True):
        caption(ax, title)
    for ax in axes[:2]:
        logarithmic(ax, "iteration", "squared error" if ax is axes[0] else "")
    axes[1].set_ylim(axes[0].get_ylim())
    dress(axes[2], "depth, relative", "")
    axes[2].grid(visible=True, color=FAINT, alpha=0.25)
    save(figure, out)
    spread = max(last["in V"]) / min(last["in V"])
    assert spread < 1.5  # a hundred times the depth, the same learning
    assert last["Euclidean"][-1] > 2 * last["in V"][-1]
    return spread


if __name__ == "__main__":
    main()
