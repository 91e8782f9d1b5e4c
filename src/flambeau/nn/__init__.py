"""Modules, parameters, losses and what initialises them."""

from flambeau import _suggest
from flambeau.nn import attention, functional, init, modules, parallel, utils
from flambeau.nn.modules import *
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__getattr__ = _suggest.suggesting(__name__)
