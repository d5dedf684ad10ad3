r"""The vocabulary: the nouns of the library, and the one equation that joins them.

    E(φ) = λ · ½ ∫₀¹ ‖v_t‖²_V dt  +  D(φ · source, target),      ∂_t φ_t = v_t ∘ φ_t,  φ_0 = id

Registering two shapes, training a residual network and fitting a normalizing flow differ only in which words
fill this line. Everything else in the package is an implementation of one of the abstract classes below.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self, TypeVar, overload

import torch
from torch import Tensor, nn

from diffeo.grid import Grid

State = TypeVar("State", Tensor, tuple[Tensor, ...])

CHUNK = 200_000  # points of a grid that go through a map at a time, so that what happens on the way needs little memory


class Kernel(ABC):
    """A reproducing kernel: what it costs to move. ``kernel(x, y)`` is the lazy matrix K(x, y)."""

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor | None = None) -> Any:
        """The lazy Gram matrix of x, shape (n, d), against y, shape (m, d); y defaults to x."""


class Field(nn.Module, ABC):
    """A velocity field v in the space V of a kernel; its parameters are the module's."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d), for positions x, shape (n, d)."""

    @abstractmethod
    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d): entry [i, a, b] is ∂v_a/∂x_b at x_i."""

    @abstractmethod
    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""

    @abstractmethod
    def sqnorm(self) -> Tensor:
        """‖v‖²_V, a scalar."""

    @abstractmethod
    def lipschitz(self) -> Tensor:
        """An upper bound of the Lipschitz constant of v, a scalar."""

    def frozen(self) -> Any:
        """The same velocity for many evaluations, with what does not depend on x computed once."""
        return self

    def redrawn(self, seed: int) -> Field:
        """A field of this kind at rest, its random weights drawn anew; where nothing is random, a copy of this one."""
        return copy.deepcopy(self)

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """The parameters, each with what its Euclidean gradient is to be multiplied by to be the gradient in V.

        For coefficients of orthonormal fields that is 1; for averages over units it grows with the width, so that one
        learning rate serves every width.
        """
        return [(p, 1.0) for p in self.parameters()]

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What to call the class with to build this field again: tensors, numbers, kernels."""

    @abstractmethod
    def rescaled(self, factor: float, shift: Tensor) -> Field:
        """The same field in other units: x becomes ``factor * x + shift``, v becomes ``factor * v``."""


class Solver(ABC):
    """A one-step method for ẏ = f(t, y); one step is one layer."""

    order: int

    @abstractmethod
    def step(self, f: Callable[[float, State], State], t: float, dt: float, y: State) -> State:
        """The state at t + dt; ``y`` is a tensor or a tuple of tensors, and f returns the like."""


class Shape(ABC):
    """Something a diffeomorphism acts on."""

    @abstractmethod
    def carried(self, phi: Diffeo) -> Self:
        """φ · shape, the group action: points go to φ(x), an image I becomes I∘φ⁻¹."""

    @abstractmethod
    def differentiable(self) -> tuple[Self, list[Tensor]]:
        """The same shape made of leaves that record gradients, and these leaves: what a small layer changes in it."""

    @abstractmethod
    def pulled(self, gradients: Sequence[Tensor | None], grid: Grid) -> Tensor:
        """Gradients in the leaves, as the derivative of a layer id + v: f, shape (d, *grid.shape), with Σ_i ⟨f_i, v_i⟩.

        v is in steps of the grid. Raises ValueError for an image that lies on another grid.
        """

    @abstractmethod
    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The shape with its tensors converted, as ``torch.Tensor.to`` converts them."""


ShapeT = TypeVar("ShapeT", bound=Shape)


class Diffeo(nn.Module, ABC):
    """A diffeomorphism φ of R^d, with its inverse, its log-determinant, its path and its energy."""

    never_folds: bool = False
    """Whether it keeps orientation by how it is made, whatever its parameters are, as affine maps do."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, d), for x of shape (n, d)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """φ⁻¹(y), shape (n, d): the inverse of the map that ``forward`` computes."""

    @abstractmethod
    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x), shape (n, d), and log det Dφ(x), shape (n,), of the map that ``forward`` computes.

        A layer with a non-positive determinant gives NaN there: folds are never hidden behind an absolute value.
        """

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x), shape (n, d), and by what factor each layer changes volume on the way, shape (layers, n).

        Where a layer folds, its factor is not positive. The logarithms of all add up to log det Dφ(x).
        """
        moved, logdet = self.with_logdet(x)
        return moved, logdet.exp()[None]

    @abstractmethod
    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x), shape (n, d), and Dφ(x), shape (n, d, d), of the map that ``forward`` computes."""

    @abstractmethod
    def path(self, x: Tensor) -> list[Tensor]:
        """The trajectory of x: one tensor (n, d) per time, from x to φ(x)."""

    @abstractmethod
    def energy(self) -> Tensor:
        """½ ∫ ‖v_t‖²_V dt, a scalar, in length units squared."""

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """The parameters, each with the factor from its Euclidean gradient to that in the metric ∫‖v_t‖²_V dt.

        For L layers, that factor is L times the fields' own, so that one learning rate serves every depth.
        """
        return [(p, 1.0) for p in self.parameters()]

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What to call the class with to build this map again: tensors, numbers, kernels, fields, other maps."""

    @abstractmethod
    def rescaled(self, factor: float, shift: Tensor) -> Diffeo:
        """s ∘ φ ∘ s⁻¹ for s(x) = ``factor * x + shift``: the same map in other units, shift of shape (d,)."""

    def pullback(self, grid: Grid) -> Tensor:
        """How images are carried: u, shape (d, *grid.shape), in units of the grid's index i, with φ⁻¹(Ai) = A(i + u).

        A is the affine map of the grid; u has the dtype and the device of the map.
        """
        return _everywhere(self, self.inverse, grid)

    def deformation(self, grid: Grid) -> Tensor:
        """Where the points of a grid go: u, shape (d, *grid.shape), in units of its index i, with φ(Ai) = A(i + u)."""
        return _everywhere(self, self, grid)

    @overload
    def __matmul__(self, other: Diffeo) -> Diffeo: ...
    @overload
    def __matmul__(self, other: ShapeT) -> ShapeT: ...
    def __matmul__(self, other: Any) -> Any:
        """``phi @ shape``, the group action; ``phi @ psi``, the composition φ∘ψ."""
        if isinstance(other, Diffeo):
            return Compose([other, self])
        if isinstance(other, Shape):
            return other.carried(self)
        return NotImplemented


class Grown(Diffeo):
    """A diffeomorphism that is not optimized but grows, layer upon layer, each lowering the loss a little."""

    @abstractmethod
    def grow(self, pairs: Sequence[tuple[Any, Any]], loss: Loss) -> bool:
        """Add a layer; False where none lowers Σ D(φ · source, target) any more."""

    @abstractmethod
    def growth(self) -> dict[str, Any]:
        """What has grown so far, as nested dicts and lists of tensors and numbers."""

    @abstractmethod
    def regrow(self, growth: dict[str, Any]) -> None:
        """Take up what ``growth`` gave."""


class Compose(Diffeo):
    """Several diffeomorphisms, one after the other: ``Compose([first, second])`` is second ∘ first."""

    def __init__(self, parts: Sequence[Diffeo]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("Compose expects at least one diffeomorphism, and got none.")
        flat = [p for part in parts for p in (part.diffeos if isinstance(part, Compose) else [part])]
        self.parts = nn.ModuleList(flat)

    @property
    def diffeos(self) -> list[Diffeo]:
        """The parts, in the order in which they act."""
        return [part for part in self.parts if isinstance(part, Diffeo)]

    def forward(self, x: Tensor) -> Tensor:
        """Through all parts."""
        for part in self.diffeos:
            x = part(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """Back through all parts."""
        for part in reversed(self.diffeos):
            y = part.inverse(y)
        return y

    def pullback(self, grid: Grid) -> Tensor:
        """That of the last part, and from where it leads back through the others, point by point."""
        *others, last = self.diffeos
        u = last.pullback(grid)
        if not others:
            return u
        before, slabs = Compose(others), _slabs(self, grid)
        parts = zip(slabs, u.split([slab.shape[0] for slab in slabs], 1), strict=True)
        return torch.cat([v + _steps(before.inverse, slab, slab.displaced(v)) for slab, v in parts], 1)

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Through all parts, adding their log-determinants."""
        total = x.new_zeros(len(x))
        for part in self.diffeos:
            x, logdet = part.with_logdet(x)
            total = total + logdet
        return x, total

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Through all parts, layer after layer."""
        volumes = []
        for part in self.diffeos:
            x, factors = part.with_volumes(x)
            volumes.append(factors)
        return x, torch.cat(volumes)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Through all parts, by the chain rule."""
        x, jacobian = self.diffeos[0].with_jacobian(x)
        for part in self.diffeos[1:]:
            x, last = part.with_jacobian(x)
            jacobian = last @ jacobian
        return x, jacobian

    def path(self, x: Tensor) -> list[Tensor]:
        """The parts' paths, joined."""
        path = [x]
        for part in self.diffeos:
            path += part.path(path[-1])[1:]
        return path

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """Those of all parts."""
        return [rate for part in self.diffeos for rate in part.rates()]

    def energy(self) -> Tensor:
        """The sum of the parts' energies: the cost of going through them one after the other, each in unit time."""
        return torch.stack([part.energy() for part in self.diffeos]).sum()

    def arguments(self) -> dict[str, Any]:
        """The parts."""
        return {"parts": self.diffeos}

    def rescaled(self, factor: float, shift: Tensor) -> Compose:
        """Every part in the other units."""
        return Compose([part.rescaled(factor, shift) for part in self.diffeos])


def _slabs(phi: Diffeo, grid: Grid) -> list[Grid]:
    """The parts of a grid that are pulled back one by one; all at once where everything is kept for the gradient."""
    differentiated = torch.is_grad_enabled() and any(p.requires_grad for p in phi.parameters())
    return [grid] if differentiated else grid.slabs(CHUNK)


def _everywhere(phi: Diffeo, move: Callable[[Tensor], Tensor], grid: Grid) -> Tensor:
    """`_steps` for the points of a grid themselves, ``move`` being φ or φ⁻¹."""
    like = next((t for t in (*phi.parameters(), *phi.buffers()) if t.is_floating_point()), torch.empty(()))
    return torch.cat([_steps(move, slab, slab.points(like)) for slab in _slabs(phi, grid)], 1)


def _steps(move: Callable[[Tensor], Tensor], grid: Grid, x: Tensor) -> Tensor:
    """How far each x moves, in steps of the grid, shape (d, *grid.shape), for one position x per point of it."""
    steps = (move(x) - x) @ torch.linalg.inv(grid.linear).T.to(x)
    return steps.T.reshape(-1, *grid.shape)


class Inverse(Diffeo):
    """φ⁻¹ as a map of its own: of the same energy, since a path run backward costs what it costs forward."""

    def __init__(self, phi: Diffeo) -> None:
        super().__init__()
        self.phi = phi
        self.never_folds = phi.never_folds

    def forward(self, x: Tensor) -> Tensor:
        """φ⁻¹(x)."""
        return self.phi.inverse(x)

    def inverse(self, y: Tensor) -> Tensor:
        """φ(y)."""
        return self.phi(y)

    def pullback(self, grid: Grid) -> Tensor:
        """The deformation of φ: images are carried by (φ⁻¹)⁻¹ = φ, and nothing has to be inverted."""
        return self.phi.deformation(grid)

    def deformation(self, grid: Grid) -> Tensor:
        """The pullback of φ."""
        return self.phi.pullback(grid)

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ⁻¹(x) and −log det Dφ there."""
        y = self.phi.inverse(x)
        return y, -self.phi.with_logdet(y)[1]

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ⁻¹(x), and the inverse factors, last layer first."""
        y = self.phi.inverse(x)
        return y, 1 / self.phi.with_volumes(y)[1].flip(0)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ⁻¹(x) and (Dφ)⁻¹ there."""
        y = self.phi.inverse(x)
        return y, torch.linalg.inv(self.phi.with_jacobian(y)[1])

    def path(self, x: Tensor) -> list[Tensor]:
        """φ_{1-t}∘φ₁⁻¹: the path of φ, run backward from its end."""
        return [x, *self.phi.path(self.phi.inverse(x))[-2::-1]]

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """Those of φ."""
        return self.phi.rates()

    def energy(self) -> Tensor:
        """That of φ."""
        return self.phi.energy()

    def arguments(self) -> dict[str, Any]:
        """The map that is inverted."""
        return {"phi": self.phi}

    def rescaled(self, factor: float, shift: Tensor) -> Inverse:
        """The inverse in the other units."""
        return Inverse(self.phi.rescaled(factor, shift))


class Loss(nn.Module, ABC):
    """How far φ · source still is from the target. Losses add: ``VarifoldLoss(k) + 0.1 * LandmarkLoss()``."""

    @abstractmethod
    def forward(self, moved: Any, target: Any) -> Tensor:
        """D(moved, target), a scalar, zero when they agree."""

    @abstractmethod
    def rescaled(self, factor: float) -> Loss:
        """The same comparison for shapes in other units, lengths being multiplied by ``factor``."""

    def __add__(self, other: Loss) -> Loss:
        return WeightedLosses([(1.0, self), (1.0, other)])

    def __rmul__(self, weight: float) -> Loss:
        return WeightedLosses([(float(weight), self)])


class WeightedLosses(Loss):
    """A sum of losses with positive weights."""

    def __init__(self, terms: Sequence[tuple[float, Loss]]) -> None:
        super().__init__()
        if not terms or not all(weight > 0 for weight, _ in terms):
            raise ValueError(f"a sum of losses expects terms with positive weights, and got {[w for w, _ in terms]}.")
        flat = [
            (w * inner, term)
            for w, loss in terms
            for inner, term in (loss.terms if isinstance(loss, WeightedLosses) else [(1.0, loss)])
        ]
        self.weights = [weight for weight, _ in flat]
        self.losses = nn.ModuleList([loss for _, loss in flat])

    def forward(self, moved: Any, target: Any) -> Tensor:
        """Σ_k w_k D_k(moved, target)."""
        return torch.stack([w * loss(moved, target) for w, loss in self.terms]).sum()

    def rescaled(self, factor: float) -> WeightedLosses:
        """Every loss in the other units, with the same weights."""
        return WeightedLosses([(w, loss.rescaled(factor)) for w, loss in self.terms])

    def __repr__(self) -> str:
        return " + ".join(f"{w:g} * {loss!r}" for w, loss in self.terms)

    @property
    def terms(self) -> list[tuple[float, Loss]]:
        """Weights and losses."""
        losses = [loss for loss in self.losses if isinstance(loss, Loss)]
        return list(zip(self.weights, losses, strict=True))


class Value(NamedTuple):
    """What the objective is made of; each a scalar tensor."""

    total: Tensor
    energy: Tensor
    data: Tensor


def objective(phi: Diffeo, pairs: Iterable[tuple[Any, Any]], loss: Loss, weight: float) -> Value:
    """E(φ) = weight · ½∫‖v_t‖²_V dt + Σ D(φ · source, target) over the pairs (source, target)."""
    energy = phi.energy()
    data = torch.stack([loss(phi @ source, target) for source, target in pairs]).sum()
    return Value(weight * energy + data, energy, data)
