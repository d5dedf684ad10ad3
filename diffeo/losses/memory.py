"""What a loss has computed of tensors, kept for as long as they live and do not change."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Memory:
    """Results of one computation by the tensors it was given; none is older than the last ``SIZE``.

    An optimizer asks for the value at an image, and then for the gradient there: the second answer is known already.
    A tensor is the same if it lies at the same place (``detach`` changes nothing) and was not written to since; who
    writes around torch, through numpy say, must give a new tensor. With the first of its tensors, a result is
    forgotten. Copies and pickles start empty.
    """

    SIZE = 8

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def __call__(self, compute: Callable[..., Result], *tensors: Tensor | None) -> Result:
        """``compute(*tensors)``, or what it gave before; computed anew where a gradient is recorded through it."""
        given = [t for t in tensors if t is not None]
        if any(t.is_inference() or (torch.is_grad_enabled() and t.requires_grad) for t in given):
            return compute(*tensors)
        for kept in self._kept:
            if kept.fits(tensors):
                return kept.result
        result, memory = compute(*tensors), weakref.ref(self)

        def forget(dead: Any) -> None:
            alive = memory()
            if alive is not None:
                alive._kept = [kept for kept in alive._kept if not kept.rests_on(dead)]

        keys = [None if t is None else _Key(weakref.ref(t, forget), *place(t)) for t in tensors]
        self._kept = [*self._kept[1 - self.SIZE :], _Kept(keys, result)]
        return result

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return type(self), ()


class _Key(NamedTuple):
    """A tensor, and where and how it was."""

    tensor: weakref.ref[Tensor]
    version: int
    where: Any

    def fits(self, other: Tensor) -> bool:
        """Whether the other tensor is this one, and both are as they were."""
        tensor, now = self.tensor(), (self.version, self.where)
        return tensor is not None and place(tensor) == now and place(other) == now


class _Kept(NamedTuple):
    """A result, and what it was computed of."""

    keys: list[_Key | None]
    result: Any

    def rests_on(self, tensor: Any) -> bool:
        """Whether the reference is to one of the tensors."""
        return any(key is not None and key.tensor is tensor for key in self.keys)

    def fits(self, tensors: tuple[Tensor | None, ...]) -> bool:
        """Whether these tensors are the ones."""
        return len(self.keys) == len(tensors) and all(
            t is None if key is None else t is not None and key.fits(t)
            for key, t in zip(self.keys, tensors, strict=True)
        )


def place(tensor: Tensor) -> tuple[int, Any]:
    """How often a tensor was written to, and where it lies."""
    return tensor._version, (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
