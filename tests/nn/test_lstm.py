from typing import Any

import pytest
import torch
from torch import nn

from skipvae.nn import lstm as lstm_module
from skipvae.nn.lstm import LSTM


def test_is_an_lstm_in_either_mode() -> None:
    torch.manual_seed(0)
    ours, theirs = LSTM(3, 5, num_layers=2), nn.LSTM(3, 5, num_layers=2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, state = torch.randn(2, 7, 3), (torch.randn(2, 2, 5), torch.randn(2, 2, 5))
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x, state), theirs.train(mode)(x, state))


def test_stays_in_training_mode_where_alone_cudnn_can_differentiate() -> None:
    model = nn.Sequential(nn.Dropout(), LSTM(3, 5)).eval()
    assert [module.training for module in model] == [False, True]


@pytest.mark.parametrize("state", [None, (torch.ones(1, 2, 5), torch.ones(1, 2, 5))])
def test_computes_in_float32_under_autocast_where_the_processor_has_no_bfloat16(
    monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    monkeypatch.setattr(lstm_module, "cpu_computes_bfloat16", lambda: False)
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5), torch.randn(2, 7, 3)
    expected, _ = lstm(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = lstm(x, state)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("num_steps", [1, 3, 13])
@pytest.mark.parametrize("state", [False, True])
def test_recomputing_changes_no_number_and_keeps_little(num_steps: int, state: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, num_steps, 3, requires_grad=True)
    hx = tuple(torch.randn(2, 4, 5, requires_grad=True) for _ in range(2)) if state else None
    keeping = LSTM(3, 5, num_layers=2)
    recomputing = LSTM(3, 5, num_layers=2, recompute=True)
    recomputing.load_state_dict(keeping.state_dict())
    kept, gradients = [0, 0], []
    for i, lstm in enumerate((keeping, recomputing)):

        def count(tensor: Any, i: Any = i) -> Any:
            kept[i] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            output, (h, c) = lstm(x, hx)
        parts = torch.cat([part.flatten() for part in (output, h, c)])
        learnt = [x, *(hx or ()), *lstm.parameters()]
        gradients.append([parts, *torch.autograd.grad((parts * torch.arange(len(parts))).sum(), learnt)])
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-4)
    assert kept[1] < 0.5 * kept[0]


def test_recomputing_leaves_dropout_its_order() -> None:
    x = torch.randn(4, 6, 3)
    outputs = []
    for recompute in (False, True):
        torch.manual_seed(0)
        outputs.append(nn.functional.dropout(LSTM(3, 5, recompute=recompute)(x)[0]))
    torch.testing.assert_close(*outputs)


def test_recomputes_a_sixth_of_the_steps_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lstm, seen, compute = LSTM(3, 5, num_layers=2, recompute=True), [], lstm_module._local_derivatives

    def spied(a: Any, c: Any) -> Any:
        seen.append(tuple(a.shape))
        return compute(a, c)

    monkeypatch.setattr(lstm_module, "_local_derivatives", spied)
    lstm(torch.randn(6, 12, 3))[0].sum().backward()
    assert seen == [(2, 6, 4, 5)] * 12


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("recompute", [False, True])
def test_states_of_another_batch_are_refused(batch: int, recompute: bool) -> None:
    state = (torch.zeros(1, batch, 5), torch.zeros(1, batch, 5))
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 4, 5\)"):
        LSTM(3, 5, recompute=recompute)(torch.randn(4, 7, 3), state)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_batch_of_none_has_gradients_of_zero(recompute: bool) -> None:
    lstm, x = LSTM(3, 5, num_layers=2, recompute=recompute), torch.randn(0, 7, 3, requires_grad=True)
    lstm(x)[0].sum().backward()
    assert x.grad.shape == x.shape
    assert all(weight.grad.abs().sum() == 0 for weight in lstm.parameters())


def test_recomputed_gradients_may_be_scaled_in_place() -> None:
    lstm = LSTM(3, 5, recompute=True)
    gradients = torch.autograd.grad(lstm(torch.randn(2, 7, 3))[0].sum(), list(lstm.parameters()))
    assert len({gradient.data_ptr() for gradient in gradients}) == 4


def test_a_backward_pass_under_autocast_computes_as_the_forward_pass_did() -> None:
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, recompute=True), torch.randn(2, 7, 3)
    total, gradients = lstm(x)[0].sum(), []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            gradients.append(torch.autograd.grad(total, list(lstm.parameters()), retain_graph=True))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_recomputes_no_more_than_is_asked_for() -> None:
    """Inference by gradient steps wants no gradients of the weights."""
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, recompute=True), torch.randn(2, 7, 3)
    state = tuple(torch.randn(1, 2, 5, requires_grad=True) for _ in range(2))
    lstm(x, state)[0].sum().backward()
    expected = [*(part.grad for part in state), lstm.weight_ih_l0.grad]
    frozen = LSTM(3, 5).requires_grad_(False)
    frozen.load_state_dict(lstm.state_dict())
    for recompute in (False, True):
        frozen.recompute = recompute
        gradients = torch.autograd.grad(frozen(x, state)[0].sum(), state)
        torch.testing.assert_close(list(gradients), expected[:2])
    assert expected[2].abs().sum() > 0


def test_an_input_that_learns_nothing_costs_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of an encoder, whose embedding is frozen."""
    products, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda *a, **b: products.append(a) or mm(*a, **b))
    for learns, expected in ((False, 0), (True, lstm_module.PARTS)):
        products.clear()
        LSTM(3, 5, recompute=True)(torch.randn(2, 12, 3, requires_grad=learns))[0].sum().backward()
        assert len(products) == expected


def test_recomputing_differentiates_twice() -> None:
    torch.manual_seed(0)
    x, results = torch.randn(2, 6, 3, dtype=torch.float64), []
    state = tuple(torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    keeping = LSTM(3, 4, num_layers=2).double()
    for recompute in (False, True):
        keeping.recompute = recompute
        first = torch.autograd.grad(keeping(x, state)[0].square().sum(), state, create_graph=True)
        second = sum(part.square().sum() for part in first)
        results.append(torch.autograd.grad(second, [*state, *keeping.parameters()]))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_in_bfloat16(recompute: bool) -> None:
    """Its unit is 2^-8; sums over 40 steps and 8 sentences lose a few of them, kept or recomputed."""
    torch.manual_seed(0)
    lstm, x = LSTM(6, 16, recompute=recompute), torch.randn(8, 40, 6)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        lstm.to(dtype).zero_grad()
        lstm(x.to(dtype))[0].float().square().mean().backward()
        gradients.append([weight.grad.float().clone() for weight in lstm.parameters()])
    for exact, rounded in zip(*gradients, strict=True):
        assert (rounded - exact).norm() / exact.norm() < 8 * 2**-8


@pytest.mark.parametrize("autocast", [False, True])
def test_a_large_lstm_has_the_gradients_of_float32_in_bfloat16(autocast: bool) -> None:
    torch.manual_seed(0)
    lstm, x, d = LSTM(64, 1024), torch.randn(8, 10, 64), torch.randn(8, 10, 1024)
    exact = torch.autograd.grad((lstm(x)[0] * d).sum(), list(lstm.parameters()))
    dtype = torch.float32 if autocast else torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output, _ = lstm.to(dtype)(x.to(dtype))
    rounded = torch.autograd.grad((output.float() * d).sum(), list(lstm.parameters()))
    for a, b in zip(exact, rounded, strict=True):
        assert (b.float() - a).norm() < 0.02 * a.norm()  # oneDNN: 0.2; bfloat16's rounding: 0.005
