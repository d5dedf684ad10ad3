"""Heads: maps between data and the space in which diffeomorphisms act, read-ins before and read-outs behind them."""

from diffeo.heads.base import Head, ReadIn, ReadOut
from diffeo.heads.convolutional import ConvReadIn
from diffeo.heads.linear import LinearReadIn, LinearReadOut
from diffeo.heads.readins import Chain, Identity, ZeroPadding

__all__ = [
    "Chain",
    "ConvReadIn",
    "Head",
    "Identity",
    "LinearReadIn",
    "LinearReadOut",
    "ReadIn",
    "ReadOut",
    "ZeroPadding",
]
