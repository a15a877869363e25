import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from skipvae.nn import vocabulary_loss
from skipvae.nn.vocabulary_loss import token_log_prob

B, T, H, V = 5, 7, 4, 11


@pytest.fixture
def inputs() -> Any:
    torch.manual_seed(0)
    h, weight, base = torch.randn(B, T, H), torch.randn(V, H), torch.randn(B, V)
    targets = torch.randint(1, V, (B, T))
    targets[1, 4:], targets[3, 1:] = 0, 0
    return *(part.double().requires_grad_() for part in (h, weight, base)), targets


@pytest.fixture(params=[1, 2 * T * V, 10**9], ids=["a sentence", "two sentences", "all"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worked on at once."""
    monkeypatch.setattr(vocabulary_loss, "CHUNK_ELEMENTS", request.param)


def reference(h: torch.Tensor, weight: torch.Tensor, base: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    log_probs = (torch.einsum("bth,vh->btv", h, weight) + base[:, None]).log_softmax(-1)
    return torch.where(targets > 0, log_probs.gather(-1, targets[..., None])[..., 0], 0.0)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("save_memory", [False, True])
def test_values_and_gradients_are_those_of_a_log_softmax(inputs: Any, save_memory: bool) -> None:
    parameters = inputs[:3]
    ours, theirs = token_log_prob(*inputs, save_memory=save_memory), reference(*inputs)
    torch.testing.assert_close(ours, theirs)
    weights = torch.rand(B, T, dtype=torch.double)
    for mine, other in zip(
        torch.autograd.grad(ours, parameters, weights), torch.autograd.grad(theirs, parameters, weights), strict=True
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.usefixtures("chunk")
def test_the_gradients_of_a_mean_need_no_second_look_at_the_vocabulary(
    inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    *parameters, targets = inputs
    ours, theirs = token_log_prob(*inputs, save_memory=True), reference(*inputs)
    weights = torch.full((B, T), 0.3, dtype=torch.double).masked_fill(targets == 0, torch.nan)
    monkeypatch.setattr(vocabulary_loss, "_log_probs", lambda *_: pytest.fail("the logits again"))
    gradients = torch.autograd.grad(ours, parameters, weights)
    torch.testing.assert_close(gradients, torch.autograd.grad(theirs, parameters, weights.nan_to_num(5.0)))


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("size", [(B, T), (B, 0), (0, T)])
def test_where_there_are_no_tokens_there_is_no_gradient(inputs: Any, save_memory: bool, size: Any) -> None:
    h, weight, base, _ = inputs
    h, base = h[: size[0], : size[1]], base[: size[0]]
    result = token_log_prob(h, weight, base, torch.zeros(size, dtype=torch.long), save_memory)
    assert result.shape == size
    assert not result.any()
    assert not any(gradient.any() for gradient in torch.autograd.grad(result.sum(), (h, weight, base)))


@pytest.mark.parametrize("save_memory", [False, True])
def test_the_same_graph_can_be_gone_through_again(inputs: Any, save_memory: bool) -> None:
    expected = torch.autograd.grad(3 * reference(*inputs).sum(), inputs[:3])
    result = 3 * token_log_prob(*inputs, save_memory=save_memory).sum()
    for _ in range(3):
        torch.testing.assert_close(torch.autograd.grad(result, inputs[:3], retain_graph=True), expected)


@pytest.mark.parametrize("create_graph", [False, True])
def test_weights_that_do_not_learn_cost_no_gradient(
    inputs: Any, create_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    h, weight, base, targets = inputs
    expected = torch.autograd.grad(token_log_prob(*inputs).sum(), [h, base])
    monkeypatch.setattr(torch.Tensor, "addmm_", lambda *_: pytest.fail("a gradient of the weights"))
    result = token_log_prob(h, weight.detach(), base, targets).sum()
    gradients = torch.autograd.grad(result, [h, base], create_graph=create_graph)
    torch.testing.assert_close(gradients, expected)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("save_memory", [False, True])
def test_has_second_derivatives(inputs: Any, save_memory: bool) -> None:
    *parameters, targets = inputs
    assert torch.autograd.gradgradcheck(
        lambda h, weight, base: token_log_prob(h, weight, base, targets, save_memory), parameters, fast_mode=True
    )


def test_states_that_come_from_the_same_weights(inputs: Any) -> None:
    """As they do where z comes from steps of inference: their part of the gradient must not be counted twice."""
    _, weight, base, targets = inputs
    gradients = [
        torch.autograd.grad(
            score(weight[:T].tanh().expand(B, T, H), weight, base, targets).sum(), weight, create_graph=create_graph
        )
        for score in (token_log_prob, reference)
        for create_graph in (False, True)
    ]
    for gradient in gradients[:-1]:
        torch.testing.assert_close(gradient, gradients[-1])


def test_pads_cost_nothing_and_get_no_gradient(inputs: Any) -> None:
    h, _, _, targets = inputs
    log_prob = token_log_prob(*inputs)
    assert not log_prob[targets == 0].any()
    log_prob.sum().backward()
    assert not h.grad[targets == 0].any()
    assert h.grad[targets != 0].any(-1).all()


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("save_memory", "copies"), [(False, 1), (True, 0)])
def test_the_large_tensor_is_kept_once_or_not_at_all(inputs: Any, save_memory: bool, copies: int) -> None:
    kept = {}

    def keep(tensor: Any) -> Any:
        if tensor.dim() and tensor.shape[-1] == V and tensor.numel() > B * V:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = token_log_prob(*inputs, save_memory=save_memory)
    assert sum(kept.values()) == copies * B * T * V * 8
    result.sum().backward()


@pytest.mark.parametrize("why", ["no_grad", "inference_mode", "nothing learns"])
def test_without_gradients_nothing_large_is_kept(inputs: Any, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setattr(vocabulary_loss, "CHUNK_ELEMENTS", 1)
    compute, alive = vocabulary_loss._log_probs, []

    def spied(*args: Any) -> Any:
        assert sum(reference() is not None for reference in alive) <= 1  # the last one, until it is replaced
        result = compute(*args)
        alive.append(weakref.ref(result))
        return result

    monkeypatch.setattr(vocabulary_loss, "_log_probs", spied)
    if why == "nothing learns":
        token_log_prob(*(part.detach() for part in inputs))
    else:
        with getattr(torch, why)():
            token_log_prob(*inputs)
    assert len(alive) == B


class Called(TorchDispatchMode):
    """The operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("save_memory", [False, True])
def test_no_sentence_takes_a_copy_of_the_weights(inputs: Any, grad: bool, save_memory: bool) -> None:
    h, weight, base, targets = inputs if grad else (part.detach() for part in inputs)
    by_steps = h.transpose(0, 1).contiguous().transpose(0, 1)  # as LSTMs lay out what they return
    with Called() as called:
        result = token_log_prob(by_steps, weight, base, targets, save_memory)
        if grad:
            result.sum().backward()
    assert "aten.mm.default" in called.names
    assert not any("bmm" in name for name in called.names)  # in bfloat16 its product with one matrix copies that


@pytest.mark.parametrize("save_memory", [False, True])
def test_under_autocast_the_gradient_of_the_weights_is_summed_in_float32(
    monkeypatch: pytest.MonkeyPatch, save_memory: bool
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(vocabulary_loss, "CHUNK_ELEMENTS", 1)
    h, weight = torch.rand(2000, 1, H), torch.zeros(V, H, requires_grad=True)  # all in one direction
    base, targets = torch.zeros(len(h), V), torch.full((len(h), 1), 3)
    with torch.autocast("cpu", torch.bfloat16):
        token_log_prob(h, weight, base, targets, save_memory).sum().backward()
    expected = torch.full((V,), -1 / V).index_add(0, torch.tensor([3]), torch.ones(1)).outer(h.sum((0, 1)))
    torch.testing.assert_close(weight.grad, expected, rtol=0.01, atol=0)  # a few roundings to bfloat16, 2^-9 each


@pytest.mark.parametrize("save_memory", [False, True])
def test_a_backward_pass_under_autocast_computes_as_the_forward_pass_did(inputs: Any, save_memory: bool) -> None:
    parameters = [part.detach().float().requires_grad_() for part in inputs[:3]]
    h, weight, base = parameters
    scores, gradients = token_log_prob(h, weight, base, inputs[3], save_memory), []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            gradients.append(torch.autograd.grad(scores, parameters, torch.arange(B * T).view(B, T) / B, True))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_sentences_do_not_share_a_base(inputs: Any) -> None:
    h, weight, base, targets = inputs
    with pytest.raises(ValueError, match="one row for each sentence"):
        token_log_prob(h, weight, base[:1], targets)


def test_doubles_stay_doubles_under_autocast(inputs: Any) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(token_log_prob(*inputs), reference(*inputs))


def test_is_summed_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    h, weight, base, targets = torch.randn(B, T, H), torch.randn(V, H), torch.randn(B, V), torch.randint(1, V, (B, T))
    with torch.autocast("cpu", torch.bfloat16):
        result = token_log_prob(h, weight, base, targets)
    assert result.dtype == torch.float32
    # Logits of size 8 or less are off by at most 2^-6 in bfloat16, inputs by 2^-9 of their products.
    torch.testing.assert_close(result, reference(h, weight, base, targets), atol=0.1, rtol=0)


def test_agrees_with_the_fused_loss_of_newer_versions_of_torch(inputs: Any) -> None:
    if not hasattr(F, "linear_cross_entropy"):
        pytest.skip("torch has no linear_cross_entropy before 2.14")
    h, weight, base, targets = inputs
    base = base[:1].expand(B, V)
    fused = F.linear_cross_entropy(
        h.flatten(0, 1), weight, targets.flatten(), linear_bias=base[0], ignore_index=0, reduction="none"
    )
    torch.testing.assert_close(token_log_prob(h, weight, base, targets), -fused.view(B, T))


def test_in_float16_small_probabilities_have_gradients_if_the_loss_is_scaled() -> None:
    torch.manual_seed(0)
    h, targets = 0.1 * torch.randn(B, T, H), torch.full((B, T), 3)
    weight, base = torch.randn(V, H, requires_grad=True), torch.full((B, V), -18.0)  # 1.5e-8, which float16 has not
    base[:, 3] = 0.0
    rare = [word for word in range(V) if word != 3]
    (expected,) = torch.autograd.grad(reference(h, weight, base, targets).sum(), weight)
    with torch.autocast("cpu", torch.float16):
        result = token_log_prob(h, weight, base, targets, save_memory=True)
    (gradient,) = torch.autograd.grad(2.0**14 * result.sum(), weight)
    assert (gradient[rare] / 2**14 - expected[rare]).norm() < 0.05 * expected[rare].norm()
