"""Modules, parameters, losses and what initialises them."""

from flambeau.nn import functional, init, modules, utils
from flambeau.nn.modules import *
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
