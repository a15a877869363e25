"""The LSTM of the text models."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from skipvae.nn.backward import add_product, in_own_types

PARTS = 6
"""Of the time steps, where an LSTM recomputes: more parts need less memory, and their smaller products more time."""


class LSTM(nn.LSTM):
    """`torch.nn.LSTM` of padded batches, batch first, that also works in two places where that one fails.

    It has no dropout and therefore stays in training mode: only there does cuDNN keep what a gradient needs, and
    inference by gradient steps asks for gradients in evaluation too. Under autocast on a processor without bfloat16,
    for which oneDNN has no LSTM, it computes in float32. In bfloat16 on one that has it, it always recomputes: with AMX
    the gradients of oneDNN's LSTM are wrong if it is large (torch 2.14, 1024 units: by a fifth and more), and without
    AMX they are no faster.

    For second derivatives on CUDA run the forward pass under `torch.backends.cudnn.flags(enabled=False)`: cuDNN has
    none, PyTorch's own LSTM has.

    Args:
        input_size: size of the input at each step.
        hidden_size: units in each layer.
        num_layers: number of layers.
        recompute: whether the backward pass computes the gates again, a sixth of the steps at a time, instead of
            keeping them: for 32 sentences of 80 words and 1024 units, oneDNN keeps 160 MB.

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
        if torch.is_grad_enabled() and (self.recompute or _in_bfloat16_on_cpu(input)):
            return self._run_recomputing(input, hx)
        return super().forward(input, hx)

    @torch.compiler.disable  # type: ignore[untyped-decorator] # or it would unroll the steps
    def _run_recomputing(self, input: Tensor, hx: Any) -> Any:
        if hx is None:
            hx = (input.new_zeros(self.num_layers, len(input), self.hidden_size),) * 2
        self.check_forward_args(input, hx, None)  # the kernels trust the sizes
        output, states = input.transpose(0, 1), []
        for weights, *state in zip(self.all_weights, *hx, strict=True):
            output, c = _Recomputing.apply(output, *state, *weights)
            states.append((output[-1], c))
        h, c = (torch.stack(layers) for layers in zip(*states, strict=True))
        return output.transpose(0, 1), (h, c)  # laid out as in torch's: dropout drops the same units


class _Recomputing(torch.autograd.Function):
    """A layer that keeps its input and output, and of its cells only what they held before each part of the steps.

    A cell is c_t = f c_(t-1) + i g, the output h_t = o tanh c_t, with gates i, f, o = sigmoid(a), g = tanh(a) and sums
    a = W x_t + U h_(t-1) + b (Gers et al. 2000). The backward pass knows all h, so that the sums of many steps are one
    matrix product; only the gradients have to go step by step, from the last to the first:

        d_c += d_h o (1 - tanh^2 c),  d_a = slope (d_c for i, f, g; d_h for o),  d_h = U^T d_a,  d_c = f d_c
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """x (T, B, D), h and c before the first step (B, H) and weights W, U and two b: all h (T, B, H), the last c."""
        outputs, cells = list[Tensor](), [c]
        last_h, last_c = h.unsqueeze(0), c.unsqueeze(0)
        for steps in x.chunk(PARTS):
            output, last_h, last_c = torch.lstm(steps, (last_h, last_c), weights, True, 1, 0.0, False, False, False)
            outputs.append(output)
            cells.append(last_c[0])
        output = torch.cat(outputs)
        ctx.autocast = torch.is_autocast_enabled(x.device.type)
        ctx.save_for_backward(x, h, output, *cells[:-1], *weights)
        return output, cells[-1]

    @staticmethod
    @in_own_types
    def backward(ctx: Any, d_output: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
        x, h, output, *cells, w, u, b, b_too = ctx.saved_tensors  # the first of the cells is c itself
        if torch.is_grad_enabled():  # somebody wants to differentiate this, too: autograd knows how
            inputs = (x, h, cells[0], w, u, b, b_too)
            return _differentiable_gradients(inputs, ctx.needs_input_grad, (d_output, d_c), output.dtype, ctx.autocast)
        wants_x, learns = ctx.needs_input_grad[0], any(ctx.needs_input_grad[3:])
        dtype = output.dtype  # autocast's, under autocast
        wide = torch.promote_types(dtype, torch.float32)  # sums of many terms would not fit into bfloat16
        d_w, d_u, d_b = (weight.new_zeros(weight.shape if learns else 0, dtype=wide) for weight in (w, u, b))
        w, u, bias = w.to(dtype), u.to(dtype), (b + b_too).to(dtype)
        u_t = u.t().contiguous()  # processors multiply few rows fastest by a (H, 4H) that lies in this order
        d_x, d_h, d_c = x.new_empty(x.shape if wants_x else 0, dtype=dtype), torch.zeros_like(output[0]), d_c.to(wide)
        size, (batch, hidden) = len(x.chunk(PARTS)[0]), h.shape
        for start, c in reversed(list(zip(range(0, len(x), size), cells, strict=True))):
            part = slice(start, start + size)
            first = output[start - 1] if start else h.to(dtype)
            before = torch.cat([first.unsqueeze(0), output[part][:-1]]).flatten(0, 1)
            seen = x[part].flatten(0, 1).to(dtype)
            sums = torch.addmm(bias, seen, w.t()).addmm_(before, u.t()).to(wide)
            d_sums, through, forget = _slopes(sums.view(len(x[part]), batch, 4, hidden), c.to(wide))
            for t in reversed(range(len(d_sums))):
                d_h = d_h + d_output[start + t]
                d_c = torch.addcmul(d_c, d_h, through[t])
                d_sums[t, :, :3] *= d_c.unsqueeze(1)
                d_sums[t, :, 3] *= d_h
                d_c, d_h = d_c * forget[t], (u_t @ d_sums[t].flatten(1).to(dtype).t()).t()
            d_all = d_sums.flatten(2).flatten(0, 1).to(dtype)
            if wants_x:
                torch.mm(d_all, w, out=d_x[part].flatten(0, 1))
            if learns:
                add_product(d_w, d_all.t(), seen)
                add_product(d_u, d_all.t(), before)
                d_b += d_all.sum(0, dtype=wide)
        d_weights = (d_w, d_u, d_b, d_b.clone()) if learns else (None,) * 4  # hands of others may scale them in place
        return d_x if wants_x else None, d_h, d_c, *d_weights


def _slopes(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the gradient goes through in a part of the steps.

    Args:
        a: (t, B, 4, H), the sums of the gates i, f, g, o; overwritten.
        c: (B, H), the cells before.

    Returns:
        (t, B, 4, H), by which d_a is more than d_c (i, f, g) and d_h (o); (t, B, H), by which d_h adds to d_c; and f,
        by which d_c passes to the step before.
    """
    i, f, g, o = a.unbind(2)
    for gate in (i, f, o):
        gate.sigmoid_()
    g.tanh_()
    cells = torch.cat([c.unsqueeze(0), i * g])
    for t in range(len(a)):
        cells[t + 1].addcmul_(f[t], cells[t])
    squashed, forget = cells[1:].tanh(), f.clone()
    # y' of y = tanh(a) is 1 - y^2, and of y = sigmoid(a) it is y (1 - y); each is multiplied by the first argument.
    through_tanh, through_sigmoid = torch.ops.aten.tanh_backward, torch.ops.aten.sigmoid_backward
    through = through_tanh(o, squashed)
    slope_i, slope_g = through_sigmoid(g, i), through_tanh(i, g)  # each needs the other's gate
    i.copy_(slope_i)
    g.copy_(slope_g)
    f.copy_(through_sigmoid(cells[:-1], f))
    o.copy_(through_sigmoid(squashed, o))
    return a, through, forget


def _differentiable_gradients(
    inputs: tuple[Tensor, ...], needed: tuple[bool, ...], d: tuple[Tensor, ...], dtype: torch.dtype, autocast: bool
) -> tuple[Tensor | None, ...]:
    """The gradients of d . (all h, the last c) where they are needed, with a graph of their own."""
    # Of views, or the gradients by the weights would go on through an x that depends on them.
    x, h, c, *weights = inputs = tuple(part.view_as(part) for part in inputs)
    with torch.autocast(x.device.type, dtype, enabled=autocast):
        output, _, last = torch.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)), weights, True, 1, 0.0, True, False, False)
    wanted = [part for part, need in zip(inputs, needed, strict=True) if need]
    gradients = iter(torch.autograd.grad((output, last[0]), wanted, d, create_graph=True, allow_unused=True))
    return tuple(next(gradients) if need else None for need in needed)


def _in_bfloat16_on_cpu(input: Tensor) -> bool:
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
    return input.device.type == "cpu" and dtype == torch.bfloat16


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
