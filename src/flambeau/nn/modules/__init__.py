"""The modules, by family."""

from flambeau.nn.modules.activation import *
from flambeau.nn.modules.container import *
from flambeau.nn.modules.conv import *
from flambeau.nn.modules.dropout import *
from flambeau.nn.modules.flatten import *
from flambeau.nn.modules.linear import *
from flambeau.nn.modules.loss import *
from flambeau.nn.modules.module import Module
