"""One density is carried to another, and at every moment between it is a density, too. (about 20 s)

Registration of densities is registration: samples of the one are carried by a flow, their volumes are remembered, and
D says how likely they are where they arrive, under the law of the other. Energy is paid for, so that the way is short:
the flow that comes out keeps its speed, as geodesics do. It is a diffeomorphism, and goes backward as well as forward.
"""

from pathlib import Path

import torch
from _pictures import ASSETS, WIDTH, save, square, squares
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

import diffeo
from diffeo.laws.toys import EightGaussians, Pinwheel
from diffeo.viz.style import FAINT, INK, NORMAL

REACH, CELLS = 4.0, 172
LIMIT = 0.2  # the density at which colors saturate


# region
def fitted(x: Tensor, law: diffeo.Law, layers: int, epochs: int) -> diffeo.Flow:
    """A flow that carries samples to a law, along kernels on a grid of points."""
    axis = torch.linspace(-3.5, 3.5, 11)
    field = diffeo.KernelField(diffeo.GaussianKernel(0.7), torch.cartesian_prod(axis, axis))
    phi = diffeo.Flow(field, diffeo.Euler(), layers)
    data = diffeo.Batches(x, size=500, shape=lambda rows: diffeo.Samples(rows, floor=0.1))
    adam = diffeo.InV(lambda p: torch.optim.Adam(p, lr=2e-2))
    options = {"optimizer": adam, "schedule": diffeo.Cosine(), "max_iterations": epochs}
    diffeo.fit(phi, data, diffeo.NLLLoss(law), weight=3e-3, **options)
    return phi.requires_grad_(False)


# endregion


def main(n: int = 5000, layers: int = 20, epochs: int = 80, out: Path = ASSETS / "morph.png") -> float:
    """Fit the flow, see how close it comes, and draw the density on its way."""
    start, end = EightGaussians(), Pinwheel()
    phi = fitted(end.sample(n, torch.Generator().manual_seed(0)), start, layers, epochs)

    fresh = end.sample(4000, torch.Generator().manual_seed(1))
    moved, logdet = phi.with_logdet(fresh)
    exact = end.log_prob(fresh)
    divergence, before = exact - logdet - start.log_prob(moved), exact - start.log_prob(fresh)
    value, error = float(divergence.mean()), float(divergence.std()) / len(fresh) ** 0.5
    speeds = torch.stack([layer.velocity.sqnorm() for layer in phi.layers()]).sqrt()
    print(f"KL {before.mean():.2f} → {value:.3f} ± {error:.3f} nats, on samples the flow has not seen; ", end="")
    print(f"energy {phi.energy():.2f}, speeds from {speeds.min():.2f} to {speeds.max():.2f}")
    save(picture(phi, start, end), out)
    assert bool(torch.isfinite(logdet).all())  # no layer folds
    assert value > -3 * error  # a divergence below 0 would be a lie
    assert value < 0.25 * float(before.mean())
    assert float(speeds.std() / speeds.mean()) < 0.2
    return value


def picture(phi: diffeo.Flow, start: diffeo.Law, end: diffeo.Law) -> Figure:
    """The density at six times of the way back, and what it was to be; below, the plane, and ways of samples."""
    side = square(7, gap=0.1)
    figure = Figure(figsize=(WIDTH, 2 * side + 0.72))
    above, below = squares(figure, 7, side + 0.4, gap=0.1), squares(figure, 7, 0.06, gap=0.1)
    axis = torch.linspace(-1.15 * REACH, 1.15 * REACH, CELLS)
    x = torch.cartesian_prod(axis, axis)
    frames = [(x, start.log_prob(x))]
    for layer in reversed(phi.layers()):
        y, log_density = frames[-1]
        y = layer.inverse(y)
        frames.append((y, log_density + layer.with_volume(y)[1].log()))
    shown = [round(k * phi.steps / 5) for k in range(6)]
    panels = [*((*frames[k], f"t = {k / phi.steps:.2g}") for k in shown), (x, end.log_prob(x), "The law itself")]
    below[0].set_title("The plane", loc="left", fontsize=NORMAL, color=INK, pad=4)
    below[-1].set_title("150 ways", loc="left", fontsize=NORMAL, color=INK, pad=4)
    for k, (at, log_density, title) in enumerate(panels):
        draw(above[k], at, log_density)
        above[k].set_title(title, loc="left", fontsize=NORMAL, color=INK, pad=4)
        if k < len(shown):
            sheet = at.reshape(CELLS, CELLS, 2).numpy()
            lines = [*sheet[::9], *sheet[:, ::9].swapaxes(0, 1)]
        else:
            drawn = start.sample(150, torch.Generator().manual_seed(2))
            lines = list(torch.stack(diffeo.Inverse(phi).path(drawn), 1).numpy())
        below[k].add_collection(LineCollection(lines, colors="#555555", linewidths=0.4))
        bare(below[k])
    return figure


def draw(ax: Axes, x: Tensor, log_density: Tensor) -> None:
    """A density by its values at points of a grid that has been carried along."""
    at, p = x.reshape(CELLS, CELLS, 2).numpy(), log_density.exp().reshape(CELLS, CELLS).numpy()
    ax.pcolormesh(at[..., 0], at[..., 1], p, shading="gouraud", cmap="Blues", vmin=0, vmax=LIMIT)
    bare(ax)


def bare(ax: Axes) -> None:
    """A square without numbers."""
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_color(FAINT)


if __name__ == "__main__":
    main()
