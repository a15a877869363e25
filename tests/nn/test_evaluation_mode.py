"""What the public methods of a model compute does not depend on its mode, and the mode stays as it was."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skipvae import VAE, Autoregressive
from skipvae.decoders import LSTMDecoder, MLPDecoder
from skipvae.encoders import ResNetEncoder
from skipvae.inference import SemiAmortized
from tests.inference.models import lstm


class DroppingDecoder(MLPDecoder):
    """A user's decoder with dropout, also where it samples."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(3, (1, 4, 4), hidden_dim=8, **sizes)
        self.dropout = nn.Dropout(0.5)

    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        return super().logits(x, self.dropout(z))


def resnet() -> VAE:
    torch.manual_seed(0)
    return VAE(ResNetEncoder(3, (1, 4, 4), channels=[4]), DroppingDecoder())


def words() -> VAE:
    return lstm(SemiAmortized(2, gradient="finite_difference"))


def language_model() -> Autoregressive:
    torch.manual_seed(0)
    return Autoregressive(LSTMDecoder(0, vocab_size=12, embedding_dim=4, hidden_dim=4, dropout=0.5, word_dropout=0.5))


def batch_for(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if hasattr(model.decoder, "vocab_size"):
        return torch.cat([torch.randint(4, 12, (6, 5), generator=generator), torch.full((6, 1), 3)], 1)
    return torch.rand(6, 1, 4, 4, generator=generator).round()


def public_results(model: Any, x: Tensor) -> dict[str, Tensor]:
    options = {"max_length": 4} if hasattr(model.decoder, "vocab_size") else {}
    calls = {"log_likelihood": lambda: model.log_likelihood(x), "sample": lambda: model.sample(5, **options)}
    if isinstance(model, VAE):
        calls |= {
            "infer": lambda: model.infer(x).mean,
            "forward": lambda: model(x).logvar,
            "elbo": lambda: model.elbo(x).elbo,
            "reconstruct": lambda: model.reconstruct(x, **options),
            "interpolate": lambda: model.interpolate(x[:3], x[3:], 3, **options),
        }
    found = {}
    for name, call in calls.items():
        torch.manual_seed(1)
        found[name] = call()
    return found


@pytest.mark.parametrize("make", [resnet, words, language_model])
def test_public_methods_are_independent_of_the_mode_and_leave_it(make: Any) -> None:
    model = make()
    x, expected = batch_for(model), public_results(model.eval(), batch_for(model))
    model.train()
    model.decoder.output.eval()  # frozen by its owner
    modes = [part.training for part in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = public_results(model, x)
    assert modes == [part.training for part in model.modules()]
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), f"{name} was moved by an evaluation"


@pytest.mark.parametrize("make", [resnet, words])
def test_gradients_of_the_elbo_are_those_of_evaluation_mode(make: Any) -> None:
    """Also where the backward pass, in training mode again, evaluates the decoder once more."""
    found = []
    for training in (False, True):
        model = make().train(training)
        torch.manual_seed(1)
        model.elbo(batch_for(model)).elbo.sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for evaluated, trained in zip(*found, strict=True):
        assert torch.equal(evaluated, trained)


def test_training_has_its_dropout_and_its_statistics() -> None:
    for make in (resnet, words, language_model):
        model = make().train()
        x, before = batch_for(model), {name: value.clone() for name, value in model.named_buffers()}
        losses = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            losses.append(model.loss(x)["loss"].item())
        assert losses[0] != losses[1]
        if make is resnet:
            assert any(not torch.equal(before[name], value) for name, value in model.named_buffers())
