"""Modules, parameters, losses and what initialises them."""

from flambeau._suggest import suggesting
from flambeau.nn import functional, init, modules, utils
from flambeau.nn.modules import *
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__getattr__ = suggesting(__name__)
