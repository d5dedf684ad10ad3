"""Estimators in the style of scikit-learn: residual networks trained as registrations."""

from diffeo.estimators.network import Network, Settings
from diffeo.estimators.resnet import ResNet, ResNetClassifier, ResNetRegressor

__all__ = ["Network", "ResNet", "ResNetClassifier", "ResNetRegressor", "Settings"]
