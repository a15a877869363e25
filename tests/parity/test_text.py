"""Text encoders, decoders and language models of Dieng et al. (2019)."""

import torch

from tests.parity.arrays import Arrays, each_file
from tests.parity.networks import lstm_decoder, lstm_encoder

SENTENCES = "long", "short"


@torch.no_grad()
@each_file("text_encoder_*")
def test_encoder(name: str) -> None:
    arrays = Arrays(name)
    encoder = lstm_encoder(arrays)
    for which in SENTENCES:
        posterior = encoder(arrays[f"{which}.x"])
        arrays.check(f"{which}.mean", posterior.mean)
        arrays.check(f"{which}.logvar", posterior.logvar)
        arrays.check(f"{which}.kl", posterior.kl().sum(-1))


@torch.no_grad()
@each_file("text_decoder_*", "text_language_model_*")
def test_decoder(name: str) -> None:
    arrays = Arrays(name)
    published, ours = lstm_decoder(arrays), lstm_decoder(arrays, masked=True)
    for which in SENTENCES:
        x, z = arrays[f"{which}.x"], arrays.get(f"{which}.z")
        inputs, targets = x[:, :-1], x[:, 1:, None]
        log_probs = published.output(published.hidden(inputs, z), z).log_softmax(-1)
        arrays.check(f"{which}.all_log_probs", log_probs)
        arrays.check(f"{which}.token_log_prob", log_probs.gather(-1, targets).squeeze(-1))
        arrays.check(f"{which}.log_prob", published.log_prob(x, z))
        log_probs = (ours.output(ours.hidden(inputs, z), z) + ours.never).log_softmax(-1)
        derived = f"{which}.derived.{{}}_without_pad_and_start"
        arrays.check(derived.format("token_log_prob"), log_probs.gather(-1, targets).squeeze(-1))
        arrays.check(derived.format("log_prob"), ours.log_prob(x, z))
