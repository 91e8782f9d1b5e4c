"""Datasets, samplers and the loader: another name of `flambeau.utils.data`."""

from flambeau.utils.data import *
