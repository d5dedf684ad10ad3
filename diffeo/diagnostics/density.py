"""What is known of a fitted density: how it does on rows it has not seen, whether it is one, what that rests on."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from diffeo.diagnostics.mass import Mass
from diffeo.diagnostics.volumes import Volumes

CLOSE, WHOLE = 1e-4, 1e-2
"""A round trip, relative to the spread of a column, and a mass, that are taken to be right."""


class Likelihood(NamedTuple):
    """log p of rows, in nats per row."""

    mean: float
    """Over all rows; NaN where one has no density, −∞ where one is impossible."""
    error: float
    """The standard error of the mean; NaN for one row."""
    rows: int
    """How many there were."""
    lost: int
    """How many have no density: φ folds there, or is not finite."""


class Stretch(NamedTuple):
    """How far a map goes from keeping distances; of the flow alone, between changes of units."""

    certified: float
    """≥ the Lipschitz constant, everywhere; infinite where nothing is proven."""
    measured: float
    """The largest stretch at rows of the data."""

    @property
    def looseness(self) -> float:
        """How many times what was measured is what is certified."""
        return self.certified / self.measured if self.measured else math.nan


@dataclass(frozen=True)
class DensityReport:
    """What is known of a fitted density, and what each statement rests on.

    Attributes:
        dimension: the number of columns of which it is the density.
        given: the number of further columns that it is conditioned on.
        train, held_out: log p of the rows that were trained on, and of others, if there are any.
        held_out_name: what the others are: test or validation.
        entropy: of the true law, where it is known: no honest log p is larger than its negative on average.
        round_trip: max |φ⁻¹(φ(x)) − x| over rows, relative to the spread of each column; infinite where φ⁻¹ was not
            found.
        precision: of the numbers, such as float64.
        on_data, in_box: the smallest volumes of layers at rows, and at points all over a box around them.
        layers, certified_layers: how many there are, and how many are certified to be invertible everywhere.
        forward, backward: of φ and φ⁻¹; None where there is no certificate, and `uncertified` says why.
        mass: ∫p.
        energy: ½∫‖v_t‖²_V dt, in standardized units squared.
    """

    dimension: int
    given: int
    train: Likelihood
    held_out: Likelihood | None
    held_out_name: str
    entropy: float | None
    round_trip: float
    precision: str
    on_data: Volumes
    in_box: Volumes
    layers: int
    certified_layers: int
    forward: Stretch | None
    backward: Stretch | None
    uncertified: str
    mass: Mass
    energy: float

    @property
    def gap(self) -> float:
        """How much larger log p is on the rows that were trained on than on others, on average; NaN without others."""
        return self.train.mean - self.held_out.mean if self.held_out else math.nan

    @property
    def geodesic_distance(self) -> float:
        """√(2E): no path from the identity to φ is shorter than a geodesic, whose length this bounds."""
        return math.sqrt(2 * self.energy) if self.energy >= 0 else math.nan

    @property
    def certified(self) -> bool:
        """Whether φ is proven to be a diffeomorphism everywhere, and not only measured at points."""
        return self.certified_layers == self.layers and not self.uncertified

    @property
    def problems(self) -> list[str]:
        """What forbids to call this a density, in a few words each; none where it may be called one."""
        return [text for wrong, text in self._checks() if wrong]

    @property
    def sound(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Everything, as what JSON can hold; NaN and infinities become None."""
        facts = {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # named tuples as dictionaries
        }
        for name in ("forward", "backward"):
            stretch = getattr(self, name)
            if stretch is not None:
                facts[name]["looseness"] = _plain(stretch.looseness)
        derived = {"gap": self.gap, "geodesic_distance": self.geodesic_distance}
        said = {"certified": self.certified, "sound": self.sound, "problems": self.problems}
        return facts | {k: _plain(v) for k, v in derived.items()} | said

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> DensityReport:
        """The inverse of `to_dict`; where it wrote None for a number, that is unknown, or infinite where it can be.

        Raises: KeyError or TypeError for anything else.
        """
        given = {field.name: facts[field.name] for field in dataclasses.fields(cls)}
        for name, unknown in (("round_trip", math.inf), ("energy", math.nan)):
            given[name] = unknown if given[name] is None else given[name]
        kinds: dict[str, Any] = {"train": Likelihood, "held_out": Likelihood, "on_data": Volumes, "in_box": Volumes}
        kinds |= {"forward": Stretch, "backward": Stretch, "mass": Mass}
        for name, kind in kinds.items():
            if given[name] is not None:
                unknown = {key: math.inf if key == "certified" else math.nan for key in kind._fields}
                told = {key: given[name][key] for key in kind._fields}
                given[name] = kind(**unknown | {key: value for key, value in told.items() if value is not None})
        return cls(**given)

    def __str__(self) -> str:
        sentences = [self._likelihoods(), self._undone(), self._volumes(), self._certified(), self._mass()]
        sentences.append(
            f"Its path costs an energy of {self.energy:.4g}: φ is no farther than √(2E) = {self.geodesic_distance:.4g} "
            "from the identity."
        )
        if self.problems:
            sentences.insert(0, f"THIS IS NO DENSITY: {'; '.join(self.problems)}.")
        return " ".join(sentences)

    def _checks(self) -> list[tuple[bool, str]]:
        lost = self.train.lost + (self.held_out.lost if self.held_out else 0)
        best = self.held_out
        impossible = (
            best is not None
            and self.entropy is not None
            and best.mean > -self.entropy + 3 * (best.error if math.isfinite(best.error) else 0.0)
        )
        off = math.isfinite(self.mass.value) and abs(self.mass.value - 1) > WHOLE + 3 * self.mass.error
        return [
            (lost > 0, f"{lost:,} rows have no density"),
            (self.on_data.folds > 0, f"it folds at {self.on_data.folds:,} rows"),
            (self.in_box.folds > 0, f"it folds at {self.in_box.folds:,} of {self.in_box.where} around the data"),
            (self.round_trip == math.inf, "φ⁻¹ was not found"),
            (CLOSE < self.round_trip < math.inf, f"φ⁻¹(φ(x)) is off by {self.round_trip:.2g} of a column's spread"),
            (off, f"∫p is {self.mass.value:.4f}"),
            (impossible, f"log p is larger than the true law's, {-self.entropy if self.entropy else 0:.4f}, can be"),
        ]

    def _likelihoods(self) -> str:
        said = [f"log p is {_of(self.train)} on {self.train.rows:,} training rows"]
        if self.held_out:
            said = [
                f"Held out ({self.held_out_name}, {self.held_out.rows:,} rows), log p is {_of(self.held_out)} nats",
                f"on the {self.train.rows:,} training rows {_of(self.train)}, a gap of {self.gap:.3f}",
            ]
        if self.entropy is not None:
            said.append(f"the true law has {-self.entropy:.4f} on average")
        return "; ".join(said) + "."

    def _undone(self) -> str:
        if not math.isfinite(self.round_trip):
            return "The inverse was not found."
        return f"φ⁻¹(φ(x)) is x up to {self.round_trip:.1e} of a column's spread, in {self.precision}."

    def _volumes(self) -> str:
        if math.isnan(self.on_data.smallest):
            return "There are no layers that could fold."
        said = []
        for volumes in (self.on_data, self.in_box):
            place = volumes.where if volumes is self.on_data else f"{volumes.where} of a box around them"
            folds = f"; it folds at {volumes.folds:,} of them" if volumes.folds else ""
            said.append(f"{volumes.smallest:.3g} at {place}{folds}")
        return f"The smallest volume of a layer, as measured, is {said[0]}, {said[1]}."

    def _certified(self) -> str:
        if not self.forward or not self.backward:
            return f"Elsewhere nothing is proven: {self.uncertified}."
        if not self.layers:
            return "The map only changes units, and is invertible everywhere."
        everywhere = "everywhere" if self.certified else "so that elsewhere folds are not excluded"
        return (
            f"Proven from the bounds of its velocities, at all points: {self.certified_layers} of {self.layers} layers "
            f"are invertible, {everywhere}; Lip(φ) ≤ {self.forward.certified:.3g}, {self.forward.looseness:.2g} times "
            f"what is measured on the data, and Lip(φ⁻¹) ≤ {self.backward.certified:.3g}, "
            f"{self.backward.looseness:.2g} times."
        )

    def _mass(self) -> str:
        if not math.isfinite(self.mass.value):
            return f"∫p: {self.mass.how}."
        return f"∫p = {self.mass.value:.5f} ± {self.mass.error:.1g} {self.mass.how}."


def _of(found: Likelihood) -> str:
    return f"{found.mean:.4f} ± {found.error:.4f}" + (f" ({found.lost:,} rows have none)" if found.lost else "")


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, Likelihood | Stretch | Volumes | Mass):
        return {k: _plain(v) for k, v in value._asdict().items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
