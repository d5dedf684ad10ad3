"""The loops over grids in plain torch: the reference, for any dtype and device, differentiable any number of times."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from diffeo.backends.grids import REACH, SWEEPS, Correlation, GridLoops

FLAT = 1e-5  # of the mean variance of an image: windows with less are taken for constant, and correlate with nothing
STEPS = 60  # of Newton's method


class DenseGrids(GridLoops):
    """Torch operations."""

    def sample(self, values: Tensor, index: Tensor) -> Tensor:
        """Gathers the 2^d corners."""
        shape = values.shape[1:]
        flat, where = values.flatten(1), index.flatten(1)
        # far outside is as good as just outside, and does not overflow an integer
        limit = torch.tensor([float(n) for n in shape], dtype=where.dtype, device=where.device)[:, None]
        where = torch.minimum(where.nan_to_num(nan=-2.0).clamp(min=-2.0), limit)
        low = where.detach().floor()
        part = where - low
        total = flat.new_zeros(len(flat), where.shape[1])
        for corner in itertools.product((0, 1), repeat=len(shape)):
            at, weight = torch.zeros_like(low[0], dtype=torch.int64), torch.ones_like(low[0])
            inside = at == 0
            for axis, step in enumerate(corner):
                k = low[axis].long() + step
                inside = (k >= 0) & (k < shape[axis]) & inside
                weight = weight * (part[axis] if step else 1 - part[axis])
                at = at * shape[axis] + k.clamp(0, shape[axis] - 1)
            total = total + torch.where(inside, weight * flat[:, at], 0.0)
        return total.reshape(len(values), *index.shape[1:])

    def sample_pull(
        self, values: Tensor, index: Tensor, cotangent: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """By automatic differentiation."""
        recorded = torch.is_grad_enabled() and any(t.requires_grad for t in (values, index, cotangent))
        with torch.enable_grad():
            inputs = [t if recorded else t.detach().requires_grad_() for t in (values, index)]
            inputs = [t if t.requires_grad else t.detach().requires_grad_() for t in inputs]
            wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
            sampled = self.sample(*inputs)
        found = iter(torch.autograd.grad(sampled, wanted, cotangent, create_graph=recorded))
        return next(found) if needs[0] else None, next(found) if needs[1] else None

    def warp(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor, add: Tensor | None = None) -> Tensor:
        """The indices, then `sample`."""
        warped = self.sample(values, indices(matrix, offset, u))
        return warped if add is None else warped + add

    def warp_pull(
        self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor, cotangent: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Those of `sample`, by the chain rule."""
        in_values, in_index = self.sample_pull(values, indices(matrix, offset, u), cotangent, needs)
        if in_index is None:
            return in_values, None
        return in_values, torch.einsum("ab,a...->b...", matrix.to(u), in_index)

    @torch.no_grad()
    def invert(self, u: Tensor, index: Tensor) -> Tensor:
        """Damped Newton for all points together, each with a damping of its own."""
        target = index.flatten(1)
        tolerance = 16 * torch.finfo(u.dtype).eps * (1 + max(u.shape) + target.abs().amax(0))
        y = target - self.sample(u, target)
        value, slope = self._with_slope(u, y)
        residual, damping = (value - target).norm(dim=0), torch.ones_like(y[0])
        for _ in range(STEPS):
            open_ = (residual > tolerance) & (damping > 1e-4)
            if not bool(open_.any()):
                break
            move = torch.linalg.solve_ex(slope, (value - target).T[..., None])[0][..., 0].T
            trial = y - torch.where(open_, damping, 0.0) * move
            trial_value, trial_slope = self._with_slope(u, trial)
            trial_residual = (trial_value - target).norm(dim=0)
            better = trial_residual < residual
            y, value = torch.where(better, trial, y), torch.where(better, trial_value, value)
            slope, residual = (
                torch.where(better[:, None, None], trial_slope, slope),
                torch.where(better, trial_residual, residual),
            )
            damping = torch.where(better, (2 * damping).clamp(max=1), damping / 2)
        good = (residual <= 8 * tolerance) & (torch.linalg.det(slope) > 0)
        return torch.where(good, y, torch.nan).reshape(index.shape)

    def _with_slope(self, u: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """y + u(y), shape (d, n), and its derivative, shape (n, d, d)."""
        rows = []
        for k in range(len(u)):
            one = torch.zeros_like(y)
            one[k] = 1
            rows.append(self.sample_pull(u, y, one, (False, True))[1])
        slope = torch.stack([r for r in rows if r is not None]).permute(2, 0, 1)
        return y + self.sample(u, y), slope + torch.eye(len(u), dtype=y.dtype, device=y.device)

    def convolve(self, values: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """Axis by axis, as a batch of one-dimensional convolutions."""
        for axis, weights in enumerate(taps, start=1):
            if len(weights) == 1:
                values = values * weights.to(values)
                continue
            lines = values.movedim(axis, -1)
            filtered = torch.nn.functional.conv1d(
                lines.reshape(-1, 1, lines.shape[-1]), weights.to(values)[None, None], padding=len(weights) // 2
            )
            values = filtered.reshape(lines.shape).movedim(-1, axis)
        return values

    def correlation(self, moved: Tensor, target: Tensor, weights: Tensor | None, radius: int) -> Correlation:
        """Box sums by convolution; the gradient by automatic differentiation."""
        recorded = torch.is_grad_enabled() and moved.requires_grad
        with torch.enable_grad():
            image = moved if recorded else moved.detach().requires_grad_()
            value = self._mean_correlation(image, target, weights, radius)
        (gradient,) = torch.autograd.grad(value, image, create_graph=recorded)
        return Correlation(value if recorded else value.detach(), gradient)

    def _mean_correlation(self, a: Tensor, b: Tensor, weights: Tensor | None, radius: int) -> Tensor:
        one = a.new_ones(2 * radius + 1)

        def box(f: Tensor) -> Tensor:
            return self.convolve(f[None], [one] * f.ndim)[0]

        count = box(torch.ones_like(a))
        a, b = a - a.detach().mean(), b - b.detach().mean()  # changes nothing, and costs no digits where it is large
        floor_a, floor_b = (FLAT * (f.detach() - f.detach().mean()).square().mean() for f in (a, b))
        mean_a, mean_b = box(a) / count, box(b) / count
        var_a = (box(a * a) / count - mean_a * mean_a).clamp(min=0)
        var_b = (box(b * b) / count - mean_b * mean_b).clamp(min=0)
        covariance = box(a * b) / count - mean_a * mean_b
        tiny = torch.finfo(a.dtype).tiny
        squares = covariance.square() / ((var_a + floor_a) * (var_b + floor_b) + tiny)
        return squares.mean() if weights is None else (weights * squares).sum() / weights.sum()

    def slopes(self, values: Tensor, weights: Tensor) -> Tensor:
        """Axis by axis."""
        parts = []
        for axis in range(1, values.ndim):
            if values.shape[axis] == 1:
                parts.append(values.new_zeros(values.shape[1:]))
                continue
            (slope,) = torch.gradient(values, dim=axis)
            parts.append((weights * slope).sum(0))
        return torch.stack(parts)

    def corner_determinants(self, u: Tensor, largest: bool = False) -> Tensor:
        """The minimum, or the maximum, over the corners."""
        d, shape = len(u), u.shape[1:]
        forward, backward = [], []
        for axis in range(d):
            step = u.diff(dim=axis + 1)
            ahead = torch.cat([step, step.narrow(axis + 1, max(0, shape[axis] - 2), min(1, shape[axis] - 1))], axis + 1)
            behind = torch.cat([step.narrow(axis + 1, 0, min(1, shape[axis] - 1)), step], axis + 1)
            if shape[axis] == 1:
                ahead = behind = torch.zeros_like(u)
            forward.append(ahead)
            backward.append(behind)
        extreme, found = torch.maximum if largest else torch.minimum, None
        eye = torch.eye(d, dtype=u.dtype, device=u.device).reshape(d, d, *[1] * d)
        for corner in itertools.product((0, 1), repeat=d):
            columns = torch.stack([(forward if step else backward)[axis] for axis, step in enumerate(corner)], 1)
            matrices = (columns + eye).flatten(2).permute(2, 0, 1)
            determinants = torch.linalg.det(matrices).reshape(shape)
            found = determinants if found is None else extreme(found, determinants)
        assert found is not None
        return found

    def repaired(self, u: Tensor, least: float) -> Tensor:
        """Sweeps of half the mean of the neighbors, where it is needed."""
        d, still = u.ndim - 1, (u == 0).all(0) & on_border(u)
        for _ in range(SWEEPS):
            bad = (self.corner_determinants(u) < least).to(u)
            if not bool(bad.any()):
                break
            near = self.convolve(bad[None], [u.new_ones(2 * REACH + 1)] * d)[0] > 0.5
            mean = torch.zeros_like(u)
            for axis in range(1, d + 1):
                n = u.shape[axis]
                ahead = torch.cat([u.narrow(axis, 1, n - 1), u.narrow(axis, n - 1, 1)], axis)
                behind = torch.cat([u.narrow(axis, 0, 1), u.narrow(axis, 0, n - 1)], axis)
                mean = mean + (ahead + behind) / (2 * d)
            u = torch.where(near & ~still, 0.5 * u + 0.5 * mean, u)
        return u


def on_border(u: Tensor) -> Tensor:
    """Where an axis of more than one point ends, shape S, for u of shape (d, *S)."""
    border = torch.zeros_like(u[0], dtype=torch.bool)
    for axis, n in enumerate(border.shape):
        if n > 1:
            border.select(axis, 0).fill_(True)
            border.select(axis, -1).fill_(True)
    return border


def indices(matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
    """matrix·(i + u(i)) + offset for every i, shape (d, *T)."""
    d = len(u)
    axes = [torch.arange(n, dtype=u.dtype, device=u.device) for n in u.shape[1:]]
    where = torch.stack(torch.meshgrid(*axes, indexing="ij")) + u
    return torch.einsum("ab,b...->a...", matrix.to(u), where) + offset.to(u).reshape(d, *[1] * d)
