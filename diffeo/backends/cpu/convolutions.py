"""Two convolutions of small images, an activation between them, by `toom`: fused loops, and products of matrices.

Images go through in chunks for which everything in between stays in the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.cpu import toom
from diffeo.backends.cpu.particles import loaded, share

FEWEST = 8  # channels below which products of matrices are too small to pay
FEW = 1 << 13  # numbers below which torch is fast enough that compiling loops does not pay
CHUNK = 64  # images that go through together


class Loops:
    """The loops of `toom` for images of h × w points with so many channels, in one dtype."""

    def __init__(self, h: int, w: int, channels: int, dtype: torch.dtype) -> None:
        kind = str(dtype).removeprefix("torch.")
        self.evaluating = tuple(toom.packed(toom.transforms(n)[0]).astype(kind) for n in (w, h))
        self.interpolating = tuple(toom.packed(toom.transforms(n)[2].T).astype(kind) for n in (w, h))
        loops: Any = loaded(toom.source(h, w, channels), "toom")
        self._spread, self._collect, self._advance, self._activate, self._deactivate, self._lift = loops

    def evaluate(self, images: Tensor, out: Tensor, adjoint: bool = False) -> None:
        """Images, shape (n, c, h·w), at all points, shape (points, n, c); or the adjoint of ``interpolate``."""
        weights = self.interpolating if adjoint else self.evaluating
        over(len(images), self._spread, *weights, images.numpy(), out.numpy())

    def interpolate(self, values: Tensor, out: Tensor, adjoint: bool = False) -> None:
        """The images, shape (n, c, h·w), of products, shape (points, n, c); or the adjoint of ``evaluate``."""
        weights = self.evaluating if adjoint else self.interpolating
        over(len(out), self._collect, *weights, values.numpy(), out.numpy())

    def advance(self, values: Tensor, before: Tensor, step: float, out: Tensor, adjoint: bool = False) -> None:
        """What ``interpolate`` gives, times a step, added to images from before."""
        weights = self.evaluating if adjoint else self.interpolating
        arrays = (values.numpy(), before.numpy(), weights[0].dtype.type(step), out.numpy())
        over(len(out), self._advance, *weights, *arrays)

    def activate(self, values: Tensor, kept: Tensor) -> None:
        """Products become those of their images' positive parts, which are kept, shape (n, h·w·c)."""
        over(len(kept), self._activate, *self.interpolating, *self.evaluating, values.numpy(), kept.numpy())

    def deactivate(self, values: Tensor, kept: Tensor) -> None:
        """The adjoint of ``activate``, for what that kept."""
        over(len(kept), self._deactivate, *self.evaluating, *self.interpolating, values.numpy(), kept.numpy())

    def lift(self, kept: Tensor, out: Tensor) -> None:
        """What was kept, at all points."""
        over(len(kept), self._lift, *self.evaluating, kept.numpy(), out.numpy())


def over(n: int, loop: Any, *arguments: Any) -> None:
    """A loop over n images, on as many threads as torch uses."""
    if torch.get_num_threads() == 1:
        loop(*arguments, 0, n)
    else:
        share(lambda start, stop: loop(*arguments, start, stop), n, arguments[-1].size)


@lru_cache(maxsize=64)
def loops_for(h: int, w: int, channels: int, dtype: torch.dtype) -> Loops:
    """Compiled once."""
    return Loops(h, w, channels, dtype)


def covers(inner: Tensor, outer: Tensor, size: tuple[int, int]) -> bool:
    """Whether the loops exist for such taps and images of this size, and pay."""
    small = toom.SMALLEST <= min(size) <= max(size) <= toom.LARGEST and inner.shape[2:] == outer.shape[2:] == (3, 3)
    known = inner.device.type == "cpu" and inner.dtype == outer.dtype and inner.dtype in (torch.float32, torch.float64)
    return small and known and min(*inner.shape[:2], *outer.shape[:2]) >= FEWEST


def matrices(taps: Tensor, size: tuple[int, int]) -> Tensor:
    """Taps, shape (out, in, 3, 3), at all points for images of size (h, w), shape (points, in, out); differentiable."""
    along_h, along_w = (torch.from_numpy(toom.transforms(n)[1]).to(taps) for n in size)
    both = (along_h[:, None, :, None] * along_w[:, None, :]).flip(2, 3).reshape(-1, 9)
    return (both @ taps.permute(2, 3, 1, 0).reshape(9, -1)).reshape(len(both), taps.shape[1], taps.shape[0])


class _Kept(threading.local):
    """Memory that stays in the cache because it is used again and again."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, torch.dtype], Tensor] = {}


_kept = _Kept()


def scratch(slot: int, points: int, length: int, channels: int, dtype: torch.dtype) -> Tensor:
    """Numbers of no particular value, shape (points, length, channels); one slot is the same memory every time."""
    size = points * length * channels
    buffer = _kept.buffers.get((slot, dtype))
    if buffer is None or len(buffer) < size:
        buffer = _kept.buffers[slot, dtype] = torch.empty(size, dtype=dtype)
    return buffer[:size].view(points, length, channels)


def chunks(n: int) -> Iterator[slice]:
    """Ranges of about equal length."""
    count = -(-n // CHUNK)
    length = -(-n // max(count, 1))
    return (slice(start, min(start + length, n)) for start in range(0, n, max(length, 1)))


class ConvolvedTwice(torch.autograd.Function):
    """outer * relu(inner * images), with the derivatives of exactly that.

    Of the forward pass nothing is kept but the activations. Where a graph of the gradient itself is asked for, all is
    done again in torch.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        """Images, shape (n, c, h, w); taps as `matrices`. Returns shape (n, e, h, w)."""
        n, c, h, w = images.shape
        (points, m, e), dtype = outer.shape, images.dtype
        first, middle, last = (loops_for(h, w, q, dtype) for q in (c, m, e))
        x, out = images.view(n, c, h * w), images.new_empty(n, e, h * w)
        kept = images.new_empty(n, h * w * m)
        for part in chunks(n):
            length = part.stop - part.start
            values, hidden, moved = (scratch(k, points, length, q, dtype) for k, q in ((0, c), (1, m), (0, e)))
            first.evaluate(x[part], values)
            torch.bmm(values, inner, out=hidden)
            middle.activate(hidden, kept[part])
            torch.bmm(hidden, outer, out=moved)
            last.interpolate(moved, out[part])
        ctx.save_for_backward(images, inner, outer)
        ctx.kept = kept
        return out.view(n, e, h, w)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One pass back."""
        images, inner, outer = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return differentiable_pull(images, inner, outer, cotangents[0], needs)
        n, c, h, w = images.shape
        (points, m, e), dtype = outer.shape, images.dtype
        first, middle, last = (loops_for(h, w, q, dtype) for q in (c, m, e))
        x, p = images.view(n, c, h * w), cotangents[0].contiguous().view(n, e, h * w)
        in_images = torch.empty_like(x) if needs[0] else None
        in_inner, in_outer = (
            torch.zeros_like(t) if need else None for t, need in ((inner, needs[1]), (outer, needs[2]))
        )
        for part in chunks(n):
            length = part.stop - part.start
            values, hidden, moved = (scratch(k, points, length, q, dtype) for k, q in ((0, c), (1, m), (0, e)))
            last.evaluate(p[part], moved, adjoint=True)
            if in_outer is not None:
                middle.lift(ctx.kept[part], hidden)
                in_outer.baddbmm_(hidden.transpose(1, 2), moved)
            if in_images is None and in_inner is None:
                continue
            torch.bmm(moved, outer.transpose(1, 2), out=hidden)
            middle.deactivate(hidden, ctx.kept[part])
            if in_inner is not None:
                first.evaluate(x[part], values)
                in_inner.baddbmm_(values.transpose(1, 2), hidden)
            if in_images is not None:
                torch.bmm(hidden, inner.transpose(1, 2), out=values)
                first.interpolate(values, in_images[part], adjoint=True)
        return None if in_images is None else in_images.view(n, c, h, w), in_inner, in_outer


def differentiable_pull(
    images: Tensor, inner: Tensor, outer: Tensor, cotangent: Tensor, needs: Sequence[bool], step: float | None = None
) -> tuple[Tensor | None, ...]:
    """The same gradients by operations of torch, as functions of all four; of a step of the midpoint rule, if given."""
    size = (images.shape[2], images.shape[3])
    along_h, along_w = (tuple(torch.from_numpy(t).to(images) for t in toom.transforms(n)) for n in size)

    def evaluated(x: Tensor) -> Tensor:
        return torch.einsum("ai,bj,ncij->abnc", along_h[0], along_w[0], x).flatten(0, 1)

    def interpolated(y: Tensor) -> Tensor:
        return torch.einsum("ia,jb,abnc->ncij", along_h[2], along_w[2], y.unflatten(0, [n + 2 for n in size]))

    def velocity(x: Tensor) -> Tensor:
        return interpolated(torch.bmm(evaluated(interpolated(torch.bmm(evaluated(x), inner)).relu()), outer))

    with torch.enable_grad():
        value = velocity(images)
        if step is not None:
            value = images + step * velocity(images + step / 2 * value)
        wanted = [t for t, need in zip((images, inner, outer), needs, strict=True) if need]
        found = iter(torch.autograd.grad(value, wanted, cotangent, create_graph=True))
    return tuple(next(found) if need else None for need in needs)


class ConvolvedMidpoint(torch.autograd.Function):
    """x + h v(x + h/2 v(x)) for v = outer * relu(inner * x), with the derivatives of exactly that, but in inner taps.

    Both evaluations for a chunk of images follow one another: what is between them does not leave the cache.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, inner: Tensor, outer: Tensor, step: float) -> Tensor:
        """Images, shape (n, c, h, w); taps as `matrices`, from c channels to m and back."""
        n, c, h, w = images.shape
        (points, m, _), dtype = outer.shape, images.dtype
        outside, inside = (loops_for(h, w, q, dtype) for q in (c, m))
        x, out = images.view(n, c, h * w), images.new_empty(n, c, h * w)
        kept = images.new_empty(2, n, h * w * m)
        for part in chunks(n):
            length = part.stop - part.start
            values, hidden = (scratch(k, points, length, q, dtype) for k, q in enumerate((c, m)))
            middle = scratch(2, length, c, h * w, dtype)
            for stage, (start, end, factor) in enumerate(((x[part], middle, step / 2), (middle, out[part], step))):
                outside.evaluate(start, values)
                torch.bmm(values, inner, out=hidden)
                inside.activate(hidden, kept[stage, part])
                torch.bmm(hidden, outer, out=values)
                outside.advance(values, x[part], factor, end)
        ctx.save_for_backward(images, inner, outer)
        ctx.kept, ctx.duration = kept, step
        return out.view(n, c, h, w)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Both evaluations back: the second first."""
        images, inner, outer = ctx.saved_tensors
        needs, step = ctx.needs_input_grad, ctx.duration
        if torch.is_grad_enabled():
            return *differentiable_pull(images, inner, outer, cotangents[0], needs[:3], step), None
        n, c, h, w = images.shape
        (points, m, _), dtype = outer.shape, images.dtype
        outside, inside = (loops_for(h, w, q, dtype) for q in (c, m))
        p, back = cotangents[0].contiguous().view(n, c, h * w), torch.empty_like(images).view(n, c, h * w)
        in_outer = torch.zeros_like(outer)
        inner, outer = inner.transpose(1, 2), outer.transpose(1, 2)
        for part in chunks(n):
            length = part.stop - part.start
            values, hidden = (scratch(k, points, length, q, dtype) for k, q in enumerate((c, m)))
            middle = scratch(2, length, c, h * w, dtype)
            for stage, factor, cotangent in ((1, step, p[part]), (0, step / 2, middle)):
                outside.evaluate(cotangent, values, adjoint=True)
                inside.lift(ctx.kept[stage, part], hidden)
                in_outer.baddbmm_(hidden.transpose(1, 2), values, alpha=factor)
                torch.bmm(values, outer, out=hidden)
                inside.deactivate(hidden, ctx.kept[stage, part])
                torch.bmm(hidden, inner, out=values)
                if stage:
                    outside.interpolate(values, middle, adjoint=True)
                    middle.mul_(step)
            middle.add_(p[part])
            outside.advance(values, middle, step / 2, back[part], adjoint=True)
        return back.view(n, c, h, w), None, in_outer if needs[2] else None, None
