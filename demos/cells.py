"""A real table: thirty measures of cell nuclei, and rows that were never measured beside those that were. (about 15 s)

Columns are skewed, and many of them are nearly functions of each other (radius, perimeter, area): a density of this
table has to straighten columns out before anything else. What is left out of the fit says how good it is.
"""

from pathlib import Path

import numpy as np
import torch
from _pictures import ASSETS, WIDTH, save
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import diffeo
from diffeo.viz import plot

SHOWN = (0, 3, 6, 26)  # radius, area, concavity, worst concavity


def main(rows: int = 569, out: Path = ASSETS / "cells.png") -> float:
    """Fit a density to most rows, draw new ones; it must say more of the rows left out than a Gaussian does."""
    # region
    table = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(table.data))[:rows]
    left_out, known = table.data[order[: rows // 5]], table.data[order[rows // 5 :]]
    law = diffeo.DensityFlow().fit(known)
    center, covariance = known.mean(0), np.cov(known.T)
    away = left_out - center
    far = (away @ np.linalg.inv(covariance) * away).sum(1).mean()
    gaussian = -0.5 * (far + np.linalg.slogdet(2 * np.pi * covariance)[1])
    print(f"log p of {len(left_out)} new rows, in nats: {law.score(left_out):.2f}; under a Gaussian {gaussian:.2f}")
    print(law.report_)
    drawn = law.sample(3000, random_state=0)
    # endregion
    figure = Figure(figsize=(WIDTH, 8.4))
    names = [str(name) for name in table.feature_names]
    plot.marginals(figure, torch.from_numpy(left_out), torch.from_numpy(drawn), names=names, columns=SHOWN)
    save(figure, out)
    assert law.score(left_out) > gaussian + 5
    return law.score(left_out) - gaussian


if __name__ == "__main__":
    main()
