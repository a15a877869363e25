"""The LSTM of the text models."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from skipvae.compatibility import cpu_computes_bfloat16
from skipvae.nn.backward import add_product, in_own_types

PARTS = 6
"""The number of parts that a recomputing LSTM divides the time steps into: more parts need less memory, but more time
for their smaller matrix products."""


class LSTM(nn.LSTM):
    """`torch.nn.LSTM` of padded batches, batch first, that also works in evaluation mode and in bfloat16.

    It has no dropout and therefore stays in training mode: only there does cuDNN keep what a gradient needs, and
    inference by gradient ascent computes gradients in evaluation too. Under autocast on a CPU without bfloat16, for
    which oneDNN has no LSTM, it computes in float32. In bfloat16 on a CPU that has it, it always recomputes: with AMX
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
        if torch.is_autocast_enabled("cpu") and input.device.type == "cpu" and not cpu_computes_bfloat16():
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
    """One layer that keeps for its backward pass x, all h, and of the cells c only those before each part of the steps.

    The forward pass at step t, with products of vectors element by element (Gers et al. 2000):

        (1)  a = W x_t + U h_(t-1) + b                      the sums of the four gates
        (2)  i, f, o = sigmoid(a_i, a_f, a_o),  g = tanh(a_g)
        (3)  c_t = f c_(t-1) + i g
        (4)  h_t = o tanh(c_t)

    The backward pass, from the last step to the first, where d_y is the gradient of the loss w.r.t. y:

        (5)  d_h = d_output_t + U^T d_a of step t + 1
        (6)  d_c = (f d_c) of step t + 1 + d_h o (1 - tanh^2 c_t)
        (7)  d_a_i = d_c g i (1 - i)          d_a_f = d_c c_(t-1) f (1 - f)
             d_a_g = d_c i (1 - g^2)          d_a_o = d_h tanh(c_t) o (1 - o)
        (8)  d_W = sum_t d_a x_t^T,  d_U = sum_t d_a h_(t-1)^T,  d_b = sum_t d_a,  d_x_t = W^T d_a

    All h are kept, so (1) is one matrix product for all steps of a part, as are the sums of (8). Only (3) and (5) to
    (7) go step by step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """All h (T, B, H) and the last c (B, H).

        Args:
            ctx: of autograd.
            x: (T, B, D).
            h: before the first step, (B, H).
            c: before the first step, (B, H).
            weights: W (4H, D), U (4H, H) and the two parts of b, (4H,).
        """
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
        x, h, output, *cells, w, u, b1, b2 = ctx.saved_tensors  # the first of the cells is c itself
        if torch.is_grad_enabled():  # these gradients are to be differentiated, too: by autograd
            inputs = (x, h, cells[0], w, u, b1, b2)
            return _differentiable_gradients(inputs, ctx.needs_input_grad, (d_output, d_c), output.dtype, ctx.autocast)
        wants_x, learns = ctx.needs_input_grad[0], any(ctx.needs_input_grad[3:])
        dtype = output.dtype  # autocast's, under autocast
        wide = torch.promote_types(dtype, torch.float32)  # sums of many terms would not fit into bfloat16
        d_w, d_u, d_b = (weight.new_zeros(weight.shape if learns else 0, dtype=wide) for weight in (w, u, b1))
        w, u, b = w.to(dtype), u.to(dtype), (b1 + b2).to(dtype)
        u_t = u.t().contiguous()  # CPUs multiply few rows fastest by a (H, 4H) that lies in this order
        d_x, d_h, d_c = x.new_empty(x.shape if wants_x else 0, dtype=dtype), torch.zeros_like(output[0]), d_c.to(wide)
        size, (batch, hidden) = len(x.chunk(PARTS)[0]), h.shape
        for start, c in reversed(list(zip(range(0, len(x), size), cells, strict=True))):
            part = slice(start, start + size)
            h_before_part = output[start - 1] if start else h.to(dtype)
            h_before = torch.cat([h_before_part.unsqueeze(0), output[part][:-1]]).flatten(0, 1)  # h_(t-1), (t B, H)
            x_part = x[part].flatten(0, 1).to(dtype)
            a = torch.addmm(b, x_part, w.t()).addmm_(h_before, u.t()).to(wide)  # (1)
            d_a, dh_dc, f = _local_derivatives(a.view(len(x[part]), batch, 4, hidden), c.to(wide))
            for t in reversed(range(len(d_a))):
                d_h = d_h + d_output[start + t]  # (5)
                d_c = torch.addcmul(d_c, d_h, dh_dc[t])  # (6)
                d_a[t, :, :3] *= d_c.unsqueeze(1)  # (7) of i, f, g
                d_a[t, :, 3] *= d_h  # (7) of o
                d_c = d_c * f[t]  # the first term of (6) at step t - 1
                d_h = (u_t @ d_a[t].flatten(1).to(dtype).t()).t()  # the second term of (5) at step t - 1
            d_a_part = d_a.flatten(2).flatten(0, 1).to(dtype)  # (t B, 4H)
            if wants_x:
                torch.mm(d_a_part, w, out=d_x[part].flatten(0, 1))  # (8)
            if learns:
                add_product(d_w, d_a_part.t(), x_part)
                add_product(d_u, d_a_part.t(), h_before)
                d_b += d_a_part.sum(0, dtype=wide)
        d_weights = (d_w, d_u, d_b, d_b.clone()) if learns else (None,) * 4  # a copy: callers may scale them in place
        return d_x if wants_x else None, d_h, d_c, *d_weights


def _local_derivatives(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The factors of d_c and d_h in (6) and (7) of `_Recomputing`, for a part of the steps.

    Args:
        a: (t, B, 4, H), the sums of the gates i, f, g, o; overwritten.
        c: (B, H), the cells before the first of these steps.

    Returns:
        da, (t, B, 4, H): the factor of d_c in d_a_i, d_a_f and d_a_g, and of d_h in d_a_o.
        dh_dc = o (1 - tanh^2 c), (t, B, H).
        f, (t, B, H).
    """
    i, f, g, o = a.unbind(2)
    for gate in (i, f, o):
        gate.sigmoid_()
    g.tanh_()
    cells = torch.cat([c.unsqueeze(0), i * g])
    for t in range(len(a)):
        cells[t + 1].addcmul_(f[t], cells[t])  # (3)
    tanh_c, f_gate = cells[1:].tanh(), f.clone()
    # tanh_backward(u, y) = u (1 - y^2) and sigmoid_backward(u, y) = u y (1 - y)
    tanh_backward, sigmoid_backward = torch.ops.aten.tanh_backward, torch.ops.aten.sigmoid_backward
    dh_dc = tanh_backward(o, tanh_c)
    da_i, da_g = sigmoid_backward(g, i), tanh_backward(i, g)  # each needs the other's gate, so both before writing
    i.copy_(da_i)
    g.copy_(da_g)
    f.copy_(sigmoid_backward(cells[:-1], f))
    o.copy_(sigmoid_backward(tanh_c, o))
    return a, dh_dc, f_gate


def _differentiable_gradients(
    inputs: tuple[Tensor, ...], needed: tuple[bool, ...], d: tuple[Tensor, ...], dtype: torch.dtype, autocast: bool
) -> tuple[Tensor | None, ...]:
    """The gradients of d . (all h, the last c) w.r.t. the inputs that need them, with a graph of their own."""
    # Of views: x may itself depend on the weights, and their gradients must not continue through it.
    x, h, c, *weights = inputs = tuple(part.view_as(part) for part in inputs)
    with torch.autocast(x.device.type, dtype, enabled=autocast):
        output, _, last = torch.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)), weights, True, 1, 0.0, True, False, False)
    wanted = [part for part, need in zip(inputs, needed, strict=True) if need]
    gradients = iter(torch.autograd.grad((output, last[0]), wanted, d, create_graph=True, allow_unused=True))
    return tuple(next(gradients) if need else None for need in needed)


def _in_bfloat16_on_cpu(input: Tensor) -> bool:
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
    return input.device.type == "cpu" and dtype == torch.bfloat16
