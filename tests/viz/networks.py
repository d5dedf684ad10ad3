"""Small trained networks, of every kind that looks different."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_diabetes, load_digits, load_wine

import diffeo


class Network(NamedTuple):
    """A trained network and what it was trained on."""

    estimator: Any
    X: Any
    y: Any
    names: tuple[str, ...] = ()


SMALL = {"depth": 3, "width": 24, "max_iter": 8, "dtype": "float64"}
FEW = {"depth": 2, "width": 24, "max_iter": 2, "dtype": "float64"}


def draws(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, shape)


def spirals():
    """In the plane, with names."""
    r, k = np.repeat(np.linspace(0.15, 1, 40), 2), np.arange(80) % 2
    angle = 6 * r + np.pi * k
    X = np.stack([r * np.cos(angle), 100 * r * np.sin(angle)], 1)
    return Network(
        diffeo.ResNetClassifier(field="features", **SMALL), X, np.array(["left", "right"])[k], ("x [m]", "y [cm]")
    )


def lifted():
    """A plane that bends in space."""
    _, X, y, names = spirals()
    return Network(diffeo.ResNetClassifier(field="kernel", extra_dims=1, **SMALL), X, y, names)


def wine():
    """Three classes of thirteen columns, in few of which they differ."""
    table = load_wine()
    y = np.array(["grignolino", "barbera", "a very long name of a class"])[table.target]
    return Network(diffeo.ResNetClassifier(field="kernel", **SMALL), table.data, y, tuple(table.feature_names))


def digits():
    """Classes whose names are short enough to be written."""
    X, y = load_digits(return_X_y=True)
    return Network(diffeo.ResNetClassifier(field="kernel", **FEW), X[:200], y[:200])


def thirty():
    """Classes that are too many to be listed in a film."""
    y = np.repeat(np.arange(30), 6)
    X = draws(30, 2)[y] + 0.1 * draws(180, 2, seed=1)
    return Network(diffeo.ResNetClassifier(**FEW), X, np.array([f"kind {k}" for k in y]))


def on_a_line():
    """Classes of one column."""
    X = draws(60, 1)
    return Network(diffeo.ResNetClassifier(**FEW), X, np.floor(X[:, 0]).astype(int))


def curve():
    """A value of one column."""
    X = draws(60, 1)
    return Network(diffeo.ResNetRegressor(**SMALL), X, np.sin(3 * X[:, 0]), ("t [s]", "height of $\\alpha$ [m]"))


def surface():
    """A value of two columns, by layers of which nothing is proven to be invertible."""
    X = draws(80, 2)
    reg = diffeo.ResNetRegressor(field="perceptron", affine_layers=1, **SMALL)
    return Network(reg, X, X[:, 0] * X[:, 1])


def diabetes():
    """A value of many columns, with errors."""
    X, y = load_diabetes(return_X_y=True)
    return Network(diffeo.ResNetRegressor(field="kernel", head="linear", **SMALL), X[:120], y[:120])


def several():
    """Several values, of very different units."""
    X = draws(60, 4)
    y = np.stack([X[:, 0], 1e5 * X[:, 1] ** 2, 1e-7 * X[:, 2]], 1)
    return Network(diffeo.ResNetRegressor(**FEW), X, y)


def grown():
    """Many layers, which a descent made."""
    _, X, y, names = spirals()
    clf = diffeo.ResNetClassifier(field="kernel", train="descent", width=24, max_iter=40, dtype="float64")
    return Network(clf, X, y, names)


NETWORKS = {
    made.__name__: made
    for made in (spirals, lifted, wine, digits, thirty, on_a_line, curve, surface, diabetes, several, grown)
}


@cache
def trained(name: str) -> Network:
    """One of them, after its training; shared, so that it must not be changed."""
    made = NETWORKS[name]()
    return made._replace(estimator=made.estimator.fit(made.X, made.y))
