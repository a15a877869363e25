import pytest
import torch
from torch import nn

from skipvae import recurrent
from skipvae.recurrent import LSTM


def test_is_an_lstm_in_either_mode():
    torch.manual_seed(0)
    ours, theirs = LSTM(3, 5, num_layers=2), nn.LSTM(3, 5, num_layers=2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, state = torch.randn(2, 7, 3), (torch.randn(2, 2, 5), torch.randn(2, 2, 5))
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x, state), theirs.train(mode)(x, state))


def test_stays_in_training_mode_where_alone_cudnn_can_differentiate():
    model = nn.Sequential(nn.Dropout(), LSTM(3, 5)).eval()
    assert [module.training for module in model] == [False, True]


@pytest.mark.parametrize("state", [None, (torch.ones(1, 2, 5), torch.ones(1, 2, 5))])
def test_computes_in_float32_under_autocast_where_the_processor_has_no_bfloat16(monkeypatch, state):
    monkeypatch.setattr(recurrent, "_cpu_has_bfloat16", lambda: False)
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5), torch.randn(2, 7, 3)
    expected, _ = lstm(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = lstm(x, state)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("num_steps", [1, 3, 13])
@pytest.mark.parametrize("state", [False, True])
def test_recomputing_changes_no_number_and_keeps_little(num_steps, state):
    torch.manual_seed(0)
    x = torch.randn(4, num_steps, 3, requires_grad=True)
    hx = tuple(torch.randn(2, 4, 5, requires_grad=True) for _ in range(2)) if state else None
    keeping = LSTM(3, 5, num_layers=2)
    recomputing = LSTM(3, 5, num_layers=2, recompute=True)
    recomputing.load_state_dict(keeping.state_dict())
    kept, gradients = [0, 0], []
    for i, lstm in enumerate((keeping, recomputing)):

        def count(tensor, i=i):
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


def test_recomputing_leaves_dropout_its_order():
    x = torch.randn(4, 6, 3)
    outputs = []
    for recompute in (False, True):
        torch.manual_seed(0)
        outputs.append(nn.functional.dropout(LSTM(3, 5, recompute=recompute)(x)[0]))
    torch.testing.assert_close(*outputs)


def test_recomputes_a_quarter_of_the_steps_at_a_time(monkeypatch):
    lstm, seen, forward = LSTM(3, 5, num_layers=2, recompute=True), [], nn.LSTM.forward

    def spied(self, x, hx):
        seen.append((x.shape[1], all(part.is_contiguous() for part in hx)))  # or cuDNN would refuse them
        return forward(self, x, hx)

    monkeypatch.setattr(nn.LSTM, "forward", spied)
    lstm(torch.randn(6, 8, 3))[0].sum().backward()
    assert seen == [(2, True)] * 8  # forwards, and again in the backward pass
