"""Geodesics on grids (EPDiff): a momentum at every node of a grid, carried by the map that it shoots."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.flows.mesh import Mesh
from diffeo.flows.splined import Splined, inverted
from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial
from diffeo.sampling.splines import read
from diffeo.solvers import check_steps


class GridGeodesic(Splined):
    r"""The end of a geodesic shot from the identity, for images: its momenta and its velocities live on grids.

    The momentum is carried by the map, $m_t = |D\phi_t^{-1}|\,(D\phi_t^{-1})^T m_0\circ\phi_t^{-1}$, which is EPDiff.
    It is carried in the form in which it meets fields, $\int w\cdot m_t = \sum_n p_n\cdot w(x_n)$: the nodes of the
    grid move with the flow and bear a covector each, $\dot x = \partial_p H$, $\dot p = -\partial_x H$ (see `Mesh`).
    Nothing is resampled on the way: rough momenta stay what they are, and the energy is conserved however coarse the
    grid, up to the steps in time. The inverse map is traced back through the same velocities from the points of the
    mesh; φ⁻¹ = id + u, u being the quadratic spline through what is found there.

    Args:
        kernel: of the space V; its spectrum must be finite, and its scales not much below a step of the nodes.
        nodes: where the momenta are; a coarser grid than that of the images where the kernel is wider than its steps.
        coordinates: the unknown z, in length units, shape (d, *nodes.shape), or (c, *nodes.shape) with a template. The
            energy is about ½‖z‖². Zero, that is the identity, if left out.
        template: the values of the moving image at the nodes, shape (c, *nodes.shape). The momentum is then normal to
            its level sets, $-\sum_c \alpha_c \nabla I_c$, and the α are unknown instead of vectors.
        steps: of the midpoint rule.
        padding: twice the room around the nodes, in which velocities fade; see `GridKernel`.
        ridge: what the momentum gives up of its finest part, to be well-posed: see `Mesh.whitened`.

    Attributes:
        grid: the mesh: the nodes, and the room around them.

    Raises: ValueError where these do not fit together.
    Source: Younes, Arrate & Miller, "Evolutions equations in computational anatomy", NeuroImage 2009.
    """

    template: Tensor | None

    def __init__(
        self,
        kernel: Radial,
        nodes: Grid,
        coordinates: Tensor | None = None,
        template: Tensor | None = None,
        steps: int = 4,
        padding: float | None = None,
        ridge: float = 0.1,
    ) -> None:
        super().__init__()
        shape = (nodes.dim if template is None else len(template), *nodes.shape)
        for name, given in (("coordinates", coordinates), ("a template", template)):
            if given is not None and given.shape != shape:
                raise ValueError(f"GridGeodesic expects {name} of shape {shape}, and got {tuple(given.shape)}.")
        if not (math.isfinite(ridge) and ridge > 0):
            raise ValueError(f"GridGeodesic expects a positive ridge, and got {ridge}.")
        self.mesh, self.nodes, self.steps = Mesh(kernel, nodes, padding, ridge), nodes, check_steps(steps)
        self.grid = self.mesh.grid
        self.register_buffer("template", None if template is None else template.detach().clone())
        start = torch.zeros(shape) if template is None else torch.zeros_like(template)
        self.coordinates = nn.Parameter(start if coordinates is None else coordinates.detach().clone())
        self._kept: _Kept | None = None

    @property
    def kernel(self) -> Radial:
        """Of the space V."""
        return self.mesh.operator.kernel

    # ---- shooting

    def momenta(self) -> Tensor:
        """The initial momenta of the nodes, dual to steps of the mesh, shape (d, n); per node, not per volume."""
        p = self.mesh.whitened(self.coordinates).flatten(1)
        to_steps = self.nodes.linear.T.to(p)
        if self.template is None:
            return to_steps @ p
        slopes = differences(self.template).flatten(2)  # dual to steps as they are
        steepness = (torch.linalg.inv(to_steps) @ slopes).square().sum((0, 1)).mean().sqrt()
        return -(p[:, None] * slopes).sum(0) / steepness.clamp(min=torch.finfo(p.dtype).tiny)

    def shoot(self) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """Positions and momenta (x, p) of the nodes at times 0, 1/steps, …, 1, and the velocities halfway between."""
        p, h = self.momenta(), 1 / self.steps
        states, velocities = [(self.mesh.start(p), p)], []
        for _ in range(self.steps):
            x, p = states[-1]
            dx, dp, _ = self.mesh.hamilton(x, p)
            dx, dp, v = self.mesh.hamilton(x + h / 2 * dx, p + h / 2 * dp)
            states.append((x + h * dx, p + h * dp))
            velocities.append(v)
        return states, velocities

    def traced(self, velocities: list[Tensor]) -> Tensor:
        """Where the points of the mesh come from: u, shape (d, *grid.shape), back through velocities, the last first.

        By the midpoint rule, every velocity being constant on its interval. The half step to the middle is taken with
        the velocity of the interval before, which does not change the order and saves half of the work.
        """
        start = self.grid.indices(velocities[0]).flatten(1)
        y, h, last = start, 1 / self.steps, None
        for v in reversed(velocities):
            last = read(v, y - h / 2 * (read(v, y) if last is None else last))
            y = y - h * last
        return (y - start).reshape(-1, *self.grid.shape)

    def displacement(self) -> Tensor:
        """u, shape (d, *grid.shape), in steps of the mesh."""
        return self._spline().values

    def coefficients(self) -> Tensor:
        """Of the spline through u."""
        return self._spline().coefficients

    def _spline(self) -> _Kept:
        """u, kept as long as nothing is differentiated."""
        given = [t.detach() for t in (self.coordinates, self.template) if t is not None]
        recording = torch.is_grad_enabled() and self.coordinates.requires_grad
        if recording or torch.is_inference_mode_enabled():
            return self._computed(given)
        if self._kept is None or not self._kept.fits(given, self.steps):
            self._kept = self._computed([t.clone() for t in given])
        return self._kept

    def _computed(self, given: list[Tensor]) -> _Kept:
        u = self.traced(self.shoot()[1])
        return _Kept(given, self.steps, u, self.mesh.coefficients(u))

    def path(self, x: Tensor) -> list[Tensor]:
        """φ_t(x) at times 0, 1/steps, …, 1: every φ_t⁻¹ is traced back, and inverted."""
        velocities = self.shoot()[1]
        parts = [self.mesh.coefficients(self.traced(velocities[:k])) for k in range(1, self.steps + 1)]
        return [x, *(inverted(self.grid, c, x) for c in parts)]

    # ---- what is conserved

    def energy(self) -> Tensor:
        """½⟨m_0, K m_0⟩, which geodesics conserve."""
        p = self.momenta()
        return self.mesh.energy(self.mesh.start(p), p)

    @torch.no_grad()
    def hamiltonian_drift(self) -> float:
        """Largest relative change of ½⟨m_t, K m_t⟩ along the computed path: 0 for exact geodesics."""
        values = torch.stack([self.mesh.energy(x, p) for x, p in self.shoot()[0]])
        scale = float(values[0])
        return float((values - values[0]).abs().max()) / scale if scale > 0 else 0.0

    # ---- the same momentum elsewhere, other momenta here

    @torch.no_grad()
    def start_along(self, velocity: Tensor) -> None:
        """Replace the momentum by the one whose initial velocity is v but for the ridge, given at the nodes.

        Args:
            velocity: v, shape (d, *nodes.shape), in length units.

        Raises: ValueError for another shape, or where the momentum is that of a template, which allows few velocities.
        """
        if self.template is not None or velocity.shape != self.coordinates.shape:
            expected = "no velocity, having a template" if self.template is not None else tuple(self.coordinates.shape)
            raise ValueError(f"this geodesic can start along {expected}, and got the shape {tuple(velocity.shape)}.")
        self.coordinates.copy_(self.mesh.whitened(velocity.to(self.coordinates)))

    @torch.no_grad()
    def on(self, nodes: Grid, template: Tensor | None = None) -> GridGeodesic:
        """The same momentum on other nodes, usually finer ones, to go on from there; 0 where there was none.

        Args:
            nodes: the new ones.
            template: at the new nodes, if there is one at the old.
        """
        # z per square root of volume is what does not depend on the nodes
        c = self.mesh.coefficients(self.mesh.operator.pad(self.coordinates))
        matrix, offset = self.grid.from_index_of(nodes)
        z = read(c, matrix.to(c) @ nodes.indices(c).flatten(1) + offset.to(c)[:, None])
        z = math.sqrt(nodes.cell / self.nodes.cell) * z.reshape(len(c), *nodes.shape)
        return GridGeodesic(**{**self.arguments(), "nodes": nodes, "coordinates": z, "template": template})

    def arguments(self) -> dict[str, Any]:
        """Kernel, nodes, coordinates, template, and how they are used."""
        return {
            "kernel": self.kernel,
            "nodes": self.nodes,
            "coordinates": self.coordinates.detach(),
            "template": self.template,
            "steps": self.steps,
            "padding": self.mesh.operator.padding,
            "ridge": self.mesh.ridge,
        }

    def with_steps(self, steps: int) -> GridGeodesic:
        """The same initial momentum, integrated with another number of steps."""
        return GridGeodesic(**{**self.arguments(), "steps": steps})

    def rescaled(self, factor: float, shift: Tensor) -> GridGeodesic:
        """Nodes, coordinates, padding and the kernel's scale in the other units."""
        padding = self.mesh.operator.padding
        changed = {
            "kernel": self.kernel.rescaled(factor),
            "nodes": self.nodes.moved(factor * torch.eye(self.nodes.dim, dtype=torch.float64), shift),
            "coordinates": factor * self.coordinates.detach(),
            "padding": None if padding is None else factor * padding,
        }
        return GridGeodesic(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """What it is made of."""
        kind = "vectors" if self.template is None else "of a template"
        return f"{self.kernel!r}, {' × '.join(map(str, self.nodes.shape))} momenta, {kind}, steps={self.steps}"


class _Kept(NamedTuple):
    """A displacement, the coefficients of its spline, and what it was computed from."""

    given: list[Tensor]
    steps: int
    values: Tensor
    coefficients: Tensor

    def fits(self, given: list[Tensor], steps: int) -> bool:
        """Whether it would be computed from the same again."""
        same = (a.dtype == b.dtype and a.device == b.device for a, b in zip(self.given, given, strict=True))
        return steps == self.steps and all(same) and all(map(torch.equal, self.given, given))


def differences(values: Tensor) -> Tensor:
    """∂f_c/∂i_k, shape (c, d, *S), of values (c, *S): central differences, one-sided at the border."""
    parts = []
    for axis in range(1, values.ndim):
        n = values.shape[axis]
        ahead = torch.cat([values.narrow(axis, 1, n - 1), values.narrow(axis, n - 1, 1)], axis)
        behind = torch.cat([values.narrow(axis, 0, 1), values.narrow(axis, 0, n - 1)], axis)
        apart = torch.full((n,), 2.0, dtype=values.dtype, device=values.device)
        apart[0] = apart[-1] = 1
        parts.append((ahead - behind) / apart.reshape(-1, *[1] * (values.ndim - 1 - axis)))
    return torch.stack(parts, 1)
