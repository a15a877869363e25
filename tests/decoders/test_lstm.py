from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from skipvae.decoders import Decoder, LSTMDecoder
from skipvae.objectives.elbo import importance_weighted_log_likelihood
from skipvae.persistence.spec import build
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian

SIZES = {"embedding_dim": 5, "hidden_dim": 8, "dropout": 0.0}
SENTENCES = [[2, 7, 8, 9, 10, 3], [2, 11, 12, 3], [2, 3]]
VARIANTS = [
    pytest.param({"latent_dim": k, "skip": skip, "num_layers": layers}, id=f"K={k}, skip={skip}, {layers} layers")
    for k, skip, layers in [(0, False, 1), (0, False, 2), (3, False, 1), (3, False, 3), (3, True, 1), (3, True, 3)]
]


def decoder_of(variant: Any, vocab_size: int = 20, **options: Any) -> LSTMDecoder:
    torch.manual_seed(0)
    return LSTMDecoder(**{**SIZES, "vocab_size": vocab_size, "init_range": 0.7, **variant, **options})


def latents(decoder: LSTMDecoder, n: int, dtype: Any = torch.float32) -> torch.Tensor | None:
    return torch.randn(n, decoder.latent_dim, dtype=dtype) if decoder.latent_dim else None


def next_logits(decoder: LSTMDecoder, inputs: Any, z: torch.Tensor | None) -> Any:
    """The logits of the token that follows each prefix of the inputs (B, T): (B, T, V)."""
    return decoder.output(decoder.hidden(inputs, z), z) + decoder.never


def padded(sentences: Sequence[Sequence[int]], length: int) -> torch.Tensor:
    return torch.stack([F.pad(torch.tensor(s), (0, length - len(s))) for s in sentences])


def by_the_equations(decoder: LSTMDecoder, sentence: Any, z: torch.Tensor | None) -> float:
    """log p(x|z) of one sentence, one token at a time, from the weights alone."""
    z = torch.zeros(0, dtype=torch.double) if z is None else z
    zero = torch.zeros(decoder.hidden_dim, dtype=torch.double)
    h, c = [zero] * len(decoder.layers), [zero] * len(decoder.layers)
    if decoder.initial is not None:
        h[-1] = decoder.initial.weight @ z + decoder.initial.bias
    total = 0.0
    for token, target in pairwise(sentence):
        below = torch.cat([decoder.embedding.weight[token], z])
        for i, layer in enumerate(decoder.layers):
            if i and decoder.skip:
                below = torch.cat([below, z])
            gates = layer.weight_ih_l0 @ below + layer.bias_ih_l0 + layer.weight_hh_l0 @ h[i] + layer.bias_hh_l0
            read, forget, new, out = gates.chunk(4)
            c[i] = forget.sigmoid() * c[i] + read.sigmoid() * new.tanh()
            h[i] = below = out.sigmoid() * c[i].tanh()
        logits = decoder.output.hidden.weight @ below + decoder.output.hidden.bias
        if decoder.skip:
            logits = logits + decoder.output.latent.weight @ z
        possible = torch.cat([logits[1:2], logits[3:]])  # neither padding, 0, nor BOS, 2
        total = total + logits[target] - possible.logsumexp(0)
    return total


@pytest.mark.parametrize("variant", VARIANTS)
def test_follows_the_equations(variant: Any) -> None:
    decoder = decoder_of(variant).double()
    z = latents(decoder, len(SENTENCES), torch.double)
    expected = [by_the_equations(decoder, s, None if z is None else z[i]) for i, s in enumerate(SENTENCES)]
    torch.testing.assert_close(decoder.log_prob(padded(SENTENCES, 7), z), torch.stack(expected))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [6, 7, 40])
def test_padding_changes_no_number(variant: Any, length: int) -> None:
    decoder = decoder_of(variant)
    z = latents(decoder, len(SENTENCES))
    together = decoder.log_prob(padded(SENTENCES, length), z)
    for row, sentence in enumerate(SENTENCES):
        alone = decoder.log_prob(torch.tensor([sentence]), None if z is None else z[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_is_used(variant: Any) -> None:
    decoder = decoder_of(variant)
    decoder(padded(SENTENCES, 6), latents(decoder, 3)).sum().backward()
    assert all(parameter.grad.any() for parameter in decoder.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_probabilities_of_all_sentences_sum_to_one(variant: Any) -> None:
    """All sentences of at most T tokens, and all prefixes of T words that have not ended, exhaust the possibilities."""
    words, longest = [1, 4, 5], 7
    decoder = decoder_of(variant, vocab_size=6).double()
    decoder.output.hidden.bias.data[3] += 4  # sentences end soon
    z = latents(decoder, 1, torch.double)

    def mass(number_of_words: int, end: Any) -> float:
        x = torch.tensor([[2, *inner, *end] for inner in product(words, repeat=number_of_words)])
        return decoder.log_prob(x, None if z is None else z.expand(len(x), -1)).exp().sum().item()

    with torch.no_grad():
        ended, sums = 0.0, []
        for length in range(1, longest + 1):
            ended += mass(length - 1, end=[3])
            sums.append(ended)
            assert ended + mass(length, end=[]) == pytest.approx(1, abs=1e-12)
    assert sums == sorted(sums)
    assert 0.99 < sums[-1] <= 1


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_skip_reaches_every_layer(num_layers: int) -> None:
    """With z's way through the first layer and h(0) cut, only the skips are left, and each of them alone matters."""
    x, z = padded(SENTENCES, 6), torch.randn(3, 3)
    for skip, open_way in product([False, True], [*range(1, num_layers), "output"]):
        decoder = decoder_of({"latent_dim": 3, "skip": skip, "num_layers": num_layers})
        with torch.no_grad():
            decoder.initial.weight.zero_()
            for i, layer in enumerate(decoder.layers):
                if i == 0 or (skip and i != open_way):
                    layer.weight_ih_l0[:, -3:] = 0
            if skip and open_way != "output":
                decoder.output.latent.weight.zero_()
        changed = decoder.log_prob(x, z) != decoder.log_prob(x, -z)
        assert changed.all() if skip else not changed.any()


def test_z_reaches_the_inputs_and_the_first_state_also_without_skips() -> None:
    x, z = padded(SENTENCES, 6), torch.randn(3, 3)
    for cut_inputs in (False, True):
        decoder = decoder_of({"latent_dim": 3})
        with torch.no_grad():
            (decoder.layers[0].weight_ih_l0[:, -3:] if cut_inputs else decoder.initial.weight).zero_()
        assert (decoder.log_prob(x, z) != decoder.log_prob(x, -z)).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_token_sees_only_what_came_before(variant: Any) -> None:
    decoder = decoder_of(variant)
    x, z = torch.randint(4, 20, (1, 6)), latents(decoder, 1)
    changed = x.clone()
    changed[0, 3] = x[0, 3] % 16 + 4
    before, after = next_logits(decoder, x, z), next_logits(decoder, changed, z)
    torch.testing.assert_close(before[:, :3], after[:, :3], rtol=0, atol=0)
    assert (before[:, 3:] != after[:, 3:]).any(-1).all()


def test_counts_what_perplexity_divides_by() -> None:
    assert decoder_of({}).num_predictions(padded(SENTENCES, 8)).tolist() == [5, 3, 1]


@pytest.mark.parametrize("latent_dim", [0, 3])
def test_z_must_fit_the_decoder(latent_dim: int) -> None:
    decoder, wrong = decoder_of({"latent_dim": latent_dim}), None if latent_dim else torch.zeros(3, 3)
    with pytest.raises(ValueError, match="latent_dim=0 takes z=None"):
        decoder.log_prob(padded(SENTENCES, 6), wrong)
    with pytest.raises(ValueError, match="latent_dim=0 takes z=None"):
        decoder.sample(wrong)


def test_a_language_model_has_no_skips() -> None:
    with pytest.raises(ValueError, match="skip=True needs latent_dim"):
        LSTMDecoder(latent_dim=0, vocab_size=20, skip=True)


@pytest.mark.parametrize("word_dropout", [-0.1, 1.5])
def test_word_dropout_is_a_probability(word_dropout: float) -> None:
    with pytest.raises(ValueError, match=r"word_dropout is .*: it is a probability"):
        decoder_of({"latent_dim": 0}, word_dropout=word_dropout)


def test_a_foreign_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="token 20 is outside the model's vocabulary of 20"):
        decoder_of({"latent_dim": 0}).log_prob(torch.tensor([[2, 20, 3]]), None)


def test_word_dropout_replaces_inputs_and_no_targets_and_no_symbols() -> None:
    decoder, x = decoder_of({"latent_dim": 0}, word_dropout=1.0), padded(SENTENCES, 6)
    inputs = torch.tensor([[2, 1, 1, 1, 1], [2, 1, 1, 3, 0], [2, 3, 0, 0, 0]])
    expected = next_logits(decoder, inputs, None).log_softmax(-1)
    expected = expected.gather(-1, x[:, 1:, None])[..., 0].masked_fill(x[:, 1:] == 0, 0).sum(1)
    torch.testing.assert_close(decoder.log_prob(x, None), expected)
    assert (decoder.eval().log_prob(x, None) != expected)[:2].all()


def test_word_dropout_drops_as_often_as_it_says() -> None:
    torch.manual_seed(0)
    decoder, words = decoder_of({"latent_dim": 0}, word_dropout=0.3), torch.full((100, 100), 7)
    share = decoder._drop_words(words).eq(1).double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 10_000) ** 0.5)


def test_a_seed_holds_the_dropout_masks_fixed() -> None:
    decoder, x = decoder_of({"latent_dim": 0, "num_layers": 2}, dropout=0.5, word_dropout=0.3), padded(SENTENCES, 6)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(decoder.log_prob(x, None))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert torch.equal(decoder.eval().log_prob(x, None), decoder.log_prob(x, None))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("recompute", [False, True])
def test_differentiable_twice_by_z_and_the_weights_in_either_mode(mode: bool, recompute: bool) -> None:
    decoder = decoder_of({"latent_dim": 3, "skip": True, "num_layers": 2}, recompute=recompute).double().train(mode)
    x = padded(SENTENCES, 5 + 1)[:2]
    weights = [decoder.output.hidden.weight, decoder.layers[1].weight_hh_l0, decoder.initial.weight]

    def log_prob(z: torch.Tensor | None, *unused: Any) -> Any:
        return decoder.log_prob(x, z)

    z = latents(decoder, 2, torch.double).requires_grad_()
    assert torch.autograd.gradcheck(log_prob, (z, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(log_prob, (z, *weights), fast_mode=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_cuda_gradients_in_evaluation_and_second_derivatives() -> None:
    decoder = decoder_of({"latent_dim": 3, "skip": True, "num_layers": 2}).eval()
    x, z = padded(SENTENCES, 6), torch.randn(3, 3)

    def derivatives(device: Any) -> list[Any]:
        moved = decoder.to(device)
        point = z.to(device).requires_grad_()
        (plain,) = torch.autograd.grad(moved.log_prob(x.to(device), point).sum(), point)
        with torch.backends.cudnn.flags(enabled=False):
            value = moved.log_prob(x.to(device), point).sum()
        (first,) = torch.autograd.grad(value, point, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), point)
        return [tensor.cpu() for tensor in (plain, first, second)]

    for on_cpu, on_cuda in zip(derivatives("cpu"), derivatives("cuda"), strict=True):
        torch.testing.assert_close(on_cpu, on_cuda, atol=1e-3, rtol=1e-3)


def test_recomputing_changes_no_number() -> None:
    x, results = padded(SENTENCES, 6), []
    for recompute in (False, True):
        decoder = decoder_of({"latent_dim": 3, "skip": True}, recompute=recompute)
        value = decoder.log_prob(x, torch.ones(3, 3))
        value.sum().backward()
        results.append([value.detach(), *(parameter.grad for parameter in decoder.parameters())])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_built_again_from_its_description(variant: Any) -> None:
    decoder = decoder_of(variant, word_dropout=0.1)
    again = build(decoder.spec, Decoder)
    assert again.spec == decoder.spec
    again.load_state_dict(decoder.state_dict())
    z = latents(decoder, 3)
    assert torch.equal(again.eval()(padded(SENTENCES, 6), z), decoder.eval()(padded(SENTENCES, 6), z))


@pytest.mark.parametrize("variant", VARIANTS)
def test_works_under_autocast_and_sums_in_float32(variant: Any) -> None:
    decoder, x = decoder_of(variant, init_range=0.1), padded(SENTENCES, 6)
    z = latents(decoder, 3)
    expected = decoder(x, z)
    with torch.autocast("cpu", torch.bfloat16):
        log_prob = decoder(x, z)
        decoder.sample(z, max_length=3)
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, expected, rtol=0.005, atol=0)
    log_prob.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in decoder.parameters())


def test_importance_weighting_repeats_sentences() -> None:
    decoder = decoder_of({"latent_dim": 3, "skip": True})
    posterior = DiagonalGaussian(torch.zeros(3, 3), torch.zeros(3, 3))
    bound = importance_weighted_log_likelihood(decoder, padded(SENTENCES, 6), posterior, num_samples=7)
    assert bound.shape == (3,)
    assert bound.isfinite().all()
