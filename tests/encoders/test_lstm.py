from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F

from skipvae.encoders import Encoder, LSTMEncoder
from skipvae.persistence.spec import build

SIZES = {"latent_dim": 3, "vocab_size": 20, "embedding_dim": 5, "hidden_dim": 8, "init_range": 0.5}
SENTENCES = [[2, 7, 8, 9, 10, 3], [2, 11, 12, 3], [2, 3]]


def padded(sentences: Sequence[Sequence[int]], length: int) -> torch.Tensor:
    return torch.stack([F.pad(torch.tensor(s), (0, length - len(s))) for s in sentences])


def encoder_of(num_layers: int = 1) -> LSTMEncoder:
    torch.manual_seed(0)
    return LSTMEncoder(num_layers=num_layers, **SIZES)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("length", [6, 7, 40])
def test_padding_changes_no_number(num_layers: int, length: int) -> None:
    encoder = encoder_of(num_layers)
    together = encoder(padded(SENTENCES, length))
    for row, sentence in enumerate(SENTENCES):
        alone = encoder(torch.tensor([sentence]))
        torch.testing.assert_close(together.mean[row], alone.mean[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.logvar[row], alone.logvar[0], atol=1e-5, rtol=1e-5)


def test_reads_every_token_of_a_sentence_and_none_of_the_pads() -> None:
    encoder, x = encoder_of(), padded(SENTENCES, 8)
    embedded = []
    encoder.embedding.register_forward_hook(lambda module, inputs, output: embedded.append(output))
    encoder(x).mean.sum().backward(inputs=embedded)
    read = embedded[0].grad.abs().sum(-1) > 0
    assert torch.equal(read, x != 0)


def test_agrees_with_the_last_state_of_an_lstm() -> None:
    encoder = encoder_of(num_layers=2)
    _, (state, _) = encoder.lstm(encoder.embedding(torch.tensor([SENTENCES[0]])))
    mean, logvar = encoder.posterior(state[-1]).chunk(2, -1)
    posterior = encoder(torch.tensor([SENTENCES[0]]))
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(posterior.logvar, logvar)


def test_every_parameter_is_used() -> None:
    encoder = encoder_of(num_layers=2)
    posterior = encoder(padded(SENTENCES, 6))
    (posterior.mean.sum() + posterior.logvar.sum()).backward()
    assert all(parameter.grad.any() for parameter in encoder.parameters())


def test_is_built_again_from_its_description() -> None:
    assert build(encoder_of().spec, Encoder).spec == encoder_of().spec


def test_posterior_is_in_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder_of()(padded(SENTENCES, 6)).mean.dtype == torch.float32


def test_a_foreign_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="token 20 is outside the model's vocabulary of 20"):
        encoder_of()(torch.tensor([[2, 20, 3]]))
