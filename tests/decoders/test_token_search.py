from itertools import product
from typing import Any

import pytest
import torch

from skipvae.decoders import LSTMDecoder
from skipvae.decoders.token_search import beam_search, sample_tokens, truncate

PAD, UNK, BOS, EOS = range(4)
VARIANTS = [
    pytest.param({"latent_dim": k, "skip": skip, "num_layers": layers}, id=f"K={k}, skip={skip}, {layers} layers")
    for k, skip, layers in [(0, False, 1), (3, False, 2), (3, True, 1), (3, True, 2)]
]


def decoder_of(variant: Any, vocab_size: int = 12) -> LSTMDecoder:
    """Sharp next-word probabilities; in float64, where rounding decides nothing."""
    torch.manual_seed(0)
    sizes = {"vocab_size": vocab_size, "embedding_dim": 5, "hidden_dim": 8}
    return LSTMDecoder(**sizes, init_range=1.5, **variant).double()


def latents(decoder: LSTMDecoder, n: int) -> torch.Tensor | None:
    return torch.randn(n, decoder.latent_dim, dtype=torch.double) if decoder.latent_dim else None


def rows(z: torch.Tensor | None, n: int) -> dict[str, Any]:
    """The arguments of `sample` for n sentences."""
    return {"num_samples": n} if z is None else {"z": z}


def by_running_the_prefix_again(
    decoder: LSTMDecoder, z: torch.Tensor | None, n: int, max_length: int, choose: Any
) -> torch.Tensor:
    decoder = decoder.eval()
    tokens, finished = torch.full((n, 1), BOS), torch.zeros(n, dtype=torch.bool)
    for _ in range(max_length):
        if finished.all():
            break
        logits = decoder.output(decoder.hidden(tokens, z), z)[:, -1]
        logits[:, [PAD, BOS]] = -torch.inf
        token = torch.where(finished, PAD, choose(logits))
        tokens, finished = torch.cat([tokens, token[:, None]], 1), finished | (token == EOS)
    return tokens


def constant(*probabilities: Any) -> Any:
    """A model that forgets everything, and its first state for n sentences."""
    logits = torch.tensor(probabilities).log()

    def step(token: torch.Tensor, state: Any) -> Any:
        return logits.expand(len(token), -1), state

    return lambda n: (step, (torch.zeros(n, 1),))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_decoding_is_that_of_the_whole_prefix(variant: Any) -> None:
    decoder, n = decoder_of(variant), 6
    z = latents(decoder, n)
    expected = by_running_the_prefix_again(decoder, z, n, 20, lambda logits: logits.argmax(-1))
    assert torch.equal(decoder.sample(**rows(z, n), temperature=0.0, max_length=20), expected)
    if z is not None:
        assert torch.equal(decoder.train().preview(z)[:, : expected.shape[1]], expected)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.8, "temperature": 1.5}])
def test_sampling_is_that_of_the_whole_prefix_with_the_same_noise(variant: Any, options: dict[str, Any]) -> None:
    decoder, n, noise = decoder_of(variant), 6, torch.Generator().manual_seed(3)
    z = latents(decoder, n)

    def choose(logits: torch.Tensor) -> torch.Tensor:
        logits = truncate(logits / options.get("temperature", 1.0), options.get("top_k"), options.get("top_p"))
        return logits.softmax(-1).multinomial(1, generator=noise)[:, 0]

    expected = by_running_the_prefix_again(decoder, z, n, 20, choose)
    noise = torch.Generator().manual_seed(3)
    assert torch.equal(decoder.sample(**rows(z, n), max_length=20, generator=noise, **options), expected)


def test_sentences_are_drawn_with_their_probability() -> None:
    decoder, n = decoder_of({"latent_dim": 0}, vocab_size=6), 20_000
    with torch.no_grad():
        decoder.output.hidden.bias[EOS] += 1
    tokens = decoder.sample(num_samples=n, max_length=30, generator=torch.Generator().manual_seed(1))
    sentences, counts = tokens.unique(dim=0, return_counts=True)
    frequent = counts > 100
    p = decoder.eval()(sentences[frequent], None).exp()
    assert frequent.sum() > 5
    assert ((counts[frequent] / n - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


def test_pads_and_start_symbols_are_never_drawn_and_nothing_follows_the_end() -> None:
    model = constant(0.5, 0.1, 0.3, 0.03, 0.07)
    tokens = sample_tokens(*model(500), max_length=30, generator=torch.Generator().manual_seed(0))
    ended = (tokens == EOS).cumsum(1)
    after = (ended - (tokens == EOS).long()) > 0
    assert (tokens[:, 0] == BOS).all()
    assert not tokens[:, 1:].eq(BOS).any()
    assert torch.equal(tokens == PAD, after)
    assert not beam_search(*model(8), num_beams=4, max_length=5)[0][:, 1:].eq(BOS).any()


def test_ends_early_and_at_the_latest_after_max_length() -> None:
    soon, never = constant(0.0, 0.0, 0.0, 1.0, 0.0), constant(0.0, 0.5, 0.0, 0.0, 0.5)
    assert sample_tokens(*soon(3), max_length=50).tolist() == [[BOS, EOS]] * 3
    assert sample_tokens(*never(3), max_length=50).shape == (3, 51)
    assert beam_search(*soon(3), num_beams=3, max_length=50)[0].tolist() == [[BOS, EOS]]
    assert beam_search(*never(3), num_beams=3, max_length=50)[0].shape == (1, 51)


def test_beams_without_a_prefix_of_their_own_end_nowhere() -> None:
    tokens, scores = beam_search(*constant(0.0, 0.6, 0.0, 0.0, 0.4)(25), num_beams=25, max_length=1)
    assert tokens.tolist() == [[BOS, UNK]]
    assert scores.exp().item() == pytest.approx(0.6)


def test_truncation_by_rank_and_by_mass() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.7, 0.1, 0.1, 0.1]]).log()
    assert truncate(logits, top_k=2).isfinite()[0].tolist() == [False, True, False, True]
    assert truncate(logits, top_k=9).isfinite().all()
    for top_p, kept in [(0.01, [1, 1]), (0.49, [1, 1]), (0.6, [2, 1]), (0.8, [3, 2]), (1.0, [4, 4])]:
        assert truncate(logits, top_p=top_p).isfinite().sum(1).tolist() == kept
    assert truncate(logits, top_p=0.6)[0].argmax() == 1


def test_temperature_sharpens() -> None:
    model = constant(0.0, 0.3, 0.0, 0.3, 0.4)

    def share(temperature: float) -> torch.Tensor:
        noise = torch.Generator().manual_seed(0)
        return sample_tokens(*model(4000), max_length=1, temperature=temperature, generator=noise)[:, 1].eq(4).double()

    for temperature in (0.5, 1.0, 2.0):
        p = 0.4 ** (1 / temperature) / (0.4 ** (1 / temperature) + 2 * 0.3 ** (1 / temperature))
        assert share(temperature).mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / 4000) ** 0.5)
    assert share(0.0).all()


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_wide_beams_find_the_most_probable_of_all_sentences(variant: Any) -> None:
    longest, n = 5, 4
    decoder = decoder_of(variant, vocab_size=6).eval()
    z = latents(decoder, n)
    sentences = [[BOS, *words, EOS] for m in range(longest) for words in product([UNK, 4, 5], repeat=m)]
    x = torch.tensor([s + [PAD] * (longest + 1 - len(s)) for s in sentences])
    num_beams = 3**longest
    repeated = None if z is None else z.repeat_interleave(num_beams, 0)
    tokens, scores = beam_search(*decoder.start(repeated, n * num_beams), num_beams=num_beams, max_length=longest)
    for row in range(n):
        log_probs = decoder(x, None if z is None else z[row].expand(len(x), -1))
        best = x[log_probs.argmax(), : tokens.shape[1]]
        assert tokens[row].tolist() == best.tolist()
        assert scores[row].item() == pytest.approx(log_probs.max().item(), abs=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_of_narrow_beams_are_log_probabilities_and_never_worse_than_greedy(variant: Any) -> None:
    decoder, n, width = decoder_of(variant).eval(), 6, 3
    z = latents(decoder, n)
    greedy = decoder.sample(**rows(z, n), temperature=0.0, max_length=40)
    repeated = None if z is None else z.repeat_interleave(width, 0)
    tokens, scores = beam_search(*decoder.start(repeated, n * width), num_beams=width, max_length=40)
    torch.testing.assert_close(scores, decoder(tokens, z))
    assert torch.equal(tokens, decoder.sample(**rows(z, n), num_beams=width, max_length=40))
    one, _ = beam_search(*decoder.start(z, n), num_beams=1, max_length=40)
    assert torch.equal(one, greedy)


@torch.no_grad()
def test_a_search_does_not_depend_on_the_batch() -> None:
    decoder = decoder_of({"latent_dim": 3, "skip": True})
    z = latents(decoder, 5)
    together = decoder.sample(z, num_beams=4, max_length=25)
    for row in range(5):
        alone = decoder.sample(z[row : row + 1], num_beams=4, max_length=25)[0]
        assert together[row, : len(alone)].tolist() == alone.tolist()
        assert not together[row, len(alone) :].any()


def test_a_prefix_is_returned_only_where_no_beam_has_ended() -> None:
    """EOS is rare: the most probable prefix beats every ended sentence, which is what a search returns."""
    tokens, scores = beam_search(*constant(0.0, 0.0, 0.0, 0.1, 0.9)(4), num_beams=4, max_length=3)
    assert tokens.tolist() == [[BOS, EOS]]
    assert scores.exp().item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
        ({"num_beams": 0}, "num_beams must be at least 1"),
        ({"num_beams": 2, "top_k": 3}, "beam search does not sample"),
        ({"num_beams": 2, "max_length": 0}, "max_length must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoder_of({"latent_dim": 3}).sample(torch.zeros(1, 3, dtype=torch.double), **options)
