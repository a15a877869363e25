"""Imported once by the process that others are forked from: whatever a run imports, and the embedded digits."""

import matplotlib
import numpy.random
import torch
import torch._dynamo
import torch.distributed
import torchvision.utils
from torch.utils.tensorboard import SummaryWriter

import datamodules
from skipvae.cli import main
from tests.command_line import digits
from tests.faults import work

__all__ = ["SummaryWriter", "datamodules", "main", "matplotlib", "numpy", "torch", "torchvision", "work"]

torch.set_num_threads(1)
digits()
