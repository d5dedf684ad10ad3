"""Densities: seven laws in the plane whose entropy is known, and three tables.

Toys: 5,000 points to learn from, 1,000 to choose by, 5,000 others, in one draw; what is reported is the mean negative
log-density of the others, in nats, and by how much it differs from that of the spline flow on the same points. Tables:
columns standardized by the training rows, ten random splits 70/10/20, means and differences over the splits. Everybody
has the same CPU-seconds of one thread for a fit, and the same rows to learn from and to choose by.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_wine

import diffeo
from diffeo.laws.toys import TOYS
from tests.benchmarks.densities_peers import OF_ZUKO, PEERS, Peer, Score
from tests.benchmarks.images import DATA
from tests.benchmarks.measure import once, table

OURS, BEST_PEER = "diffeo", "NSF"
TABLES = ("wine", "breast-cancer", "power-plant")


@dataclass(frozen=True)
class Task:
    """Rows to learn from, to choose by, and others."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """Log-densities of the others, and CPU-seconds of the fit."""

    values: np.ndarray
    cpu: float


def toy(name: str, draw: int = 0) -> Task:
    """Points of a law, always the same in each draw."""
    seed = torch.Generator().manual_seed(list(TOYS).index(name) + len(TOYS) * draw)
    x = TOYS[name](shift=torch.zeros(2, dtype=torch.float64)).sample(11_000, seed).numpy()
    return Task(f"{name}-{draw}" if draw else name, x[:5000], x[5000:6000], x[6000:])


def rows_of(name: str, data: Path) -> np.ndarray | None:
    """A table; None if it is not there."""
    if name != "power-plant":
        return np.asarray((load_wine() if name == "wine" else load_breast_cancer()).data, dtype=float)
    file = data / "tables" / name / "data.txt"
    return np.loadtxt(file) if file.exists() else None


def split_of(name: str, rows: np.ndarray, k: int) -> Task:
    """The k-th split."""
    n = len(rows)
    rows = rows[np.random.default_rng(k).permutation(n)]
    a, b = round(0.7 * n), round(0.8 * n)
    rows = (rows - rows[:a].mean(0)) / rows[:a].std(0)
    return Task(f"{name}-{k}", rows[:a], rows[a:b], rows[b:])


def ours(train: np.ndarray, validation: np.ndarray, seconds: float) -> Score:
    """As it is."""
    return diffeo.DensityFlow().fit(train, validation=validation).score_samples


@dataclass(frozen=True)
class Runs:
    """Who takes part, and where what they found is kept.

    Attributes:
        models: by name.
        seconds: of one thread, for a fit.
        cache: a folder; None to run everybody again.
    """

    models: dict[str, Peer]
    seconds: float
    cache: Path | None

    def outcome(self, name: str, task: Task) -> Outcome:
        """Fitted, or remembered."""
        file = None
        if self.cache is not None and name != OURS:
            file = self.cache / f"{task.name}_{name.replace(' ', '-')}_{self.seconds:g}.npz"
            if file.exists():
                stored = np.load(file)
                return Outcome(stored["values"], float(stored["cpu"]))
        fit = once(lambda: self.models[name](task.train, task.validation, self.seconds))
        outcome = Outcome(np.asarray(fit.result(task.test)), fit.cpu)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, values=outcome.values, cpu=outcome.cpu)
        return outcome

    def outcomes(self, tasks: Iterator[Task]) -> dict[str, list[Outcome]]:
        """Of all, on all tasks."""
        found: dict[str, list[Outcome]] = {name: [] for name in self.models}
        for task in tasks:
            for name in self.models:
                found[name].append(self.outcome(name, task))
                print(f"  {task.name} {name}: {loss(found[name][-1]):.3f} ({found[name][-1].cpu:.0f} s)", flush=True)
        return found


def loss(outcome: Outcome) -> float:
    """Mean negative log-density."""
    return -float(outcome.values.mean())


def with_error(values: np.ndarray) -> str:
    """Mean and standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():+.3f} ± {error:.3f}"


def report(title: str, found: dict[str, np.ndarray], cpu: dict[str, float]) -> None:
    """Print means of losses, which are paired: one for each test point, or one for each split."""
    rows = []
    for name, losses in found.items():
        error = with_error(losses).split(" ± ")[1]
        paired = {other: losses - found[other] for other in (BEST_PEER, OURS) if other in found and other != name}
        differences = [with_error(paired[other]) if other in paired else "" for other in (BEST_PEER, OURS)]
        rows.append([name, f"{losses.mean():.3f} ± {error}", *differences, f"{cpu[name]:.1f}"])
    print(f"\n{title}\n" + table(["", "held-out NLL", f"less {BEST_PEER}'s", f"less {OURS}'s", "CPU-s"], rows) + "\n")


def on_toy(name: str, draws: int, runs: Runs) -> None:
    """Differences over test points, of all draws together."""
    tasks = [toy(name, draw) for draw in range(draws)]
    found = runs.outcomes(iter(tasks))
    truth = [-TOYS[name]().log_prob(torch.as_tensor(task.test)).numpy() for task in tasks]
    losses = {"the law itself": np.concatenate(truth)}
    losses |= {model: -np.concatenate([one.values for one in outcomes]) for model, outcomes in found.items()}
    cpu = {"the law itself": 0.0} | {model: float(np.mean([one.cpu for one in outs])) for model, outs in found.items()}
    report(f"{name}, entropy {TOYS[name]().entropy:.3f}", losses, cpu)


def on_table(name: str, rows: np.ndarray, splits: int, runs: Runs) -> None:
    """Differences over splits."""
    found = runs.outcomes(split_of(name, rows, k) for k in range(splits))
    losses = {model: np.array([loss(outcome) for outcome in outcomes]) for model, outcomes in found.items()}
    cpu = {model: float(np.mean([outcome.cpu for outcome in outcomes])) for model, outcomes in found.items()}
    report(f"{name}, {rows.shape[1]} columns, {splits} splits", losses, cpu)


def available(names: list[str]) -> dict[str, Peer]:
    """Those of the models that are installed; a sentence for those that are not."""
    everybody: dict[str, Callable[..., Score]] = {OURS: ours, **PEERS}
    if not hasattr(diffeo, "DensityFlow") and OURS in names:
        print("skipped: this version of diffeo has no DensityFlow.")
        names = [name for name in names if name != OURS]
    if importlib.util.find_spec("zuko") is None and set(names) & set(OF_ZUKO):
        print(f"skipped: {', '.join(OF_ZUKO)} need zuko, which is not installed: pip install 'diffeo[benchmarks]'.")
        names = [name for name in names if name not in OF_ZUKO]
    return {name: everybody[name] for name in names}


def main(arguments: list[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks densities", description=__doc__)
    names = [OURS, *PEERS]
    parser.add_argument("--data", type=Path, default=os.environ.get("DIFFEO_DATA", DATA), help="holds tables/…")
    parser.add_argument("--toys", nargs="*", default=list(TOYS), choices=list(TOYS), help="which of them")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=TABLES, help="which of them")
    parser.add_argument("--splits", type=int, default=10, help="how many of the ten splits of a table")
    parser.add_argument("--draws", type=int, default=1, help="of the toys: other points of the same laws")
    parser.add_argument("--models", nargs="*", default=names, choices=names, help="who takes part")
    parser.add_argument("--seconds", type=float, default=60.0, help="for a fit: CPU time of one thread")
    parser.add_argument("--cache", type=Path, help="a folder that keeps what the others found")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # peers are stopped where the time is over
    runs = Runs(available(options.models), options.seconds, options.cache)
    for name in options.toys:
        on_toy(name, options.draws, runs)
    for name in options.tables:
        rows = rows_of(name, Path(options.data))
        if rows is None:
            print(f"\nskipped: {name} is not in {options.data}; name the folder with --data or DIFFEO_DATA.")
        else:
            on_table(name, rows, options.splits, runs)
