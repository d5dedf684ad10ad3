"""Estimators in the style of scikit-learn: residual networks and normalizing flows, trained as registrations."""

from diffeo.estimators.density import DensityFlow
from diffeo.estimators.files import load_estimator, save_estimator
from diffeo.estimators.network import Network, Settings
from diffeo.estimators.resnet import ResNet, ResNetClassifier, ResNetRegressor
from diffeo.estimators.tabular import TableModel

__all__ = [
    "DensityFlow",
    "Network",
    "ResNet",
    "ResNetClassifier",
    "ResNetRegressor",
    "Settings",
    "TableModel",
    "load_estimator",
    "save_estimator",
]
