"""Optimizers and schedules of their learning rates."""

from flambeau.optim import lr_scheduler
from flambeau.optim.adam import Adam, AdamW
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.sgd import SGD
