"""The LSTM of the text models."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class LSTM(nn.LSTM):
    """`torch.nn.LSTM`, batch first, that also works in two places where that one fails.

    It has no dropout and therefore stays in training mode: only there does cuDNN keep what a gradient needs, and
    inference by gradient steps asks for gradients in evaluation too. Under autocast on a processor without bfloat16,
    for which oneDNN has no LSTM, it computes in float32.

    For second derivatives on CUDA run the forward pass under `torch.backends.cudnn.flags(enabled=False)`: cuDNN has
    none, PyTorch's own LSTM has.

    Args:
        input_size: size of the input at each step.
        hidden_size: units in each layer.
        num_layers: number of layers.
        recompute: whether the backward pass runs the LSTM again, a quarter of the steps at a time, instead of keeping
            what it needs: for 32 sentences of 80 words and 1024 units, oneDNN keeps 160 MB.

    Example:
        >>> output, (h, c) = LSTM(3, 5).eval()(torch.zeros(2, 7, 3))
        >>> output.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, recompute: bool = False) -> None:
        super().__init__(input_size, hidden_size, num_layers, batch_first=True)
        self.recompute = recompute

    def train(self, mode: bool = True) -> Self:
        """Stays in training mode."""
        return super().train()

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As `torch.nn.LSTM`: (B, T, input_size) and, optionally, the first states to (B, T, H) and the last states."""
        if torch.is_autocast_enabled("cpu") and input.device.type == "cpu" and not _cpu_has_bfloat16():
            with torch.autocast("cpu", enabled=False):
                return self._run(input.float(), hx)
        return self._run(input, hx)

    def _run(self, input: Tensor, hx: Any) -> Any:
        if not (self.recompute and torch.is_grad_enabled()):
            return super().forward(input, hx)
        if hx is None:
            hx = (input.new_zeros(self.num_layers, len(input), self.hidden_size),) * 2
        outputs, run = [], super().forward
        for steps in input.chunk(4, 1):
            output, hx = checkpoint(run, steps, hx, use_reentrant=False, preserve_rng_state=False)
            outputs.append(output.transpose(0, 1))
        return torch.cat(outputs).transpose(0, 1), hx  # laid out as without recomputing: dropout drops the same units


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
