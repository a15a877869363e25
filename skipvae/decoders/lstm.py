"""The paper's text decoder: an LSTM that sees z at every step, with or without generative skips; or without z."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from skipvae.decoders.base import Decoder
from skipvae.decoders.token_search import State, Step, beam_search, sample_tokens, without
from skipvae.nn.choices import check_choice
from skipvae.nn.initialization import uniform
from skipvae.nn.lstm import LSTM
from skipvae.nn.vocabulary_loss import token_log_prob
from skipvae.skip import SkipLinear
from skipvae.text.tokens import BOS, EOS, PAD, UNK, check_tokens, check_vocab_size, num_predictions

NEVER = -1e4
"""Added to the logit of a token that is never predicted: its probability is 0 in every precision, its gradient too."""


class LSTMDecoder(Decoder):
    """p(x|z) = prod_t p(x_t | x_<t, z) over the words of a sentence and its EOS.

        h(1)_t = LSTM([embedding(x_(t-1)), z]),   h(l)_t = LSTM([h(l-1)_t [, z]]), l = 2..L
        p(x_t | x_<t, z) = softmax(W_h h(L)_t + b_h [+ W_z z])

    z also sets the first state of the last layer. The brackets [, z] and [+ W_z z] are the generative skip, which is
    all that `skip` switches. `latent_dim=0` is the language model: the same without z.

    Padding and BOS are never predicted, so the probabilities of all sentences sum to 1. All random numbers (dropout,
    word dropout) come from torch's default generator, so a seed holds the masks fixed.

    Args:
        latent_dim: size K of z; 0 for a language model, for which z is None.
        vocab_size: number V of token ids, special tokens included.
        embedding_dim: size of an embedding.
        hidden_dim: units H of each LSTM layer.
        num_layers: number L of LSTM layers.
        dropout: probability of dropping a unit of the embeddings and of the last layer's output.
        word_dropout: probability that an input word is replaced by the unknown word (Bowman et al. 2016).
        skip: whether z reaches every layer.
        recompute: less memory for more time, in the LSTM (`skipvae.nn.lstm.LSTM`) and in `token_log_prob`.
        init_range: parameters start uniform in (-init_range, init_range).
        embedding_range: the same for the embeddings; None for init_range.
        first_state: which state of the last layer z sets: "hidden", h(0) = W z + b, as Dieng et al. (2019), or "cell",
            c(0) = W z and h(0) = tanh c(0), as He et al. (2019).
        output_bias: whether the vocabulary projection has the bias b_h. That of He et al. has none.

    Raises:
        ValueError: if an argument is out of its range, or a language model is to have skips; in `log_prob`, if the
            tokens do not fit the vocabulary.

    Source: Dieng et al. 2019 (arXiv:1807.04863), sections 3 and 4.

    Example:
        >>> decoder = LSTMDecoder(latent_dim=2, vocab_size=10, embedding_dim=4, hidden_dim=8, skip=True).eval()
        >>> x, z = torch.tensor([[2, 7, 8, 3], [2, 7, 3, 0]]), torch.zeros(2, 2)
        >>> decoder.log_prob(x, z).shape, decoder.sample(z, max_length=5)[:, 0]
        (torch.Size([2]), tensor([2, 2]))
    """

    modality = "text"

    def __init__(
        self,
        latent_dim: int = 32,
        *,
        vocab_size: int,
        embedding_dim: int = 512,
        hidden_dim: int = 1024,
        num_layers: int = 1,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        skip: bool = False,
        recompute: bool = False,
        init_range: float = 0.1,
        embedding_range: float | None = None,
        first_state: Literal["hidden", "cell"] = "hidden",
        output_bias: bool = True,
    ) -> None:
        super().__init__()
        if skip and not latent_dim:
            raise ValueError("skip=True needs latent_dim >= 1: a language model has no z that could skip a layer")
        if not 0 <= word_dropout <= 1:
            raise ValueError(f"word_dropout is {word_dropout}: it is a probability, from 0 to 1")
        if num_layers < 1:
            raise ValueError(f"num_layers is {num_layers}: an LSTM has at least one")
        self.latent_dim, self.skip = latent_dim, skip
        self.first_state = check_choice("first_state", first_state, ("hidden", "cell"))
        self.vocab_size, self.hidden_dim = check_vocab_size(vocab_size), hidden_dim
        self.word_dropout, self.recompute = word_dropout, recompute
        skip_dim = latent_dim if skip else 0
        widths = (hidden_dim + skip_dim if layer else embedding_dim + latent_dim for layer in range(num_layers))
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.layers = nn.ModuleList(LSTM(width, hidden_dim, recompute=recompute) for width in widths)
        self.initial = nn.Linear(latent_dim, hidden_dim, bias=first_state == "hidden") if latent_dim else None
        self.output = SkipLinear(hidden_dim, vocab_size, skip_dim, bias=output_bias)
        self.dropout = nn.Dropout(dropout)
        never = torch.zeros(vocab_size).index_fill_(0, torch.tensor([PAD, BOS]), NEVER)
        self.register_buffer("never", never, persistent=False)
        self.never: Tensor
        uniform(self, init_range, embedding_range)

    # -- likelihood -------------------------------------------------------------------------------------------------

    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        """log p(x|z) in nats, (B,), summed over the predicted tokens of x (B, T), for z (B, K)."""
        check_tokens(x, self.vocab_size)
        h = self.hidden(self._drop_words(x[:, :-1]), z)
        return token_log_prob(h, self.output.hidden.weight, self._base(z, len(x)), x[:, 1:], self.recompute).sum(1)

    def num_predictions(self, x: Tensor) -> Tensor:
        """The number of tokens that `log_prob` sums over, (B,): what perplexity divides by."""
        return num_predictions(x)

    def hidden(self, inputs: Tensor, z: Tensor | None) -> Tensor:
        """h(L) at each token of `inputs` (B, T), the input of the vocabulary projection: (B, T, H)."""
        h: Tensor = self.dropout(self.embedding(inputs))
        for i, (layer, state) in enumerate(zip(self.layers, self._initial_states(z, len(inputs)), strict=True)):
            h, _ = layer(self._input(i, h, z), tuple(part.unsqueeze(0) for part in state))
        return self.dropout(h)  # type: ignore[no-any-return]

    # -- generation -------------------------------------------------------------------------------------------------

    def sample(
        self,
        z: Tensor | None = None,
        *,
        num_samples: int = 1,
        max_length: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        num_beams: int = 1,
        exclude_unk: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """x ~ p(x|z), one sentence for each row of z (B, K); dropout is off.

        Args:
            z: (B, K), or None for a language model.
            num_samples: B where there is no z.
            max_length: largest number of tokens after BOS; a longer sentence is cut there and has no EOS.
            temperature: divides the logits; 0 takes the most probable word.
            top_k: samples from the k most probable words only.
            top_p: samples from the smallest set of most probable words whose probabilities sum to at least top_p.
            num_beams: above 1, the result is the best sentence that a beam search of this width finds.
            exclude_unk: whether the unknown word is never generated.
            generator: source of the random numbers, on the device of the model.

        Returns:
            Token ids (B, T), from BOS to EOS, padded.

        Raises:
            ValueError: if an option is out of its range, or num_beams is combined with a sampling option.
        """
        batch_size = num_samples if z is None else len(z)
        excluded = (UNK,) if exclude_unk else ()
        with torch.no_grad(), torch.autocast(self.embedding.weight.device.type, enabled=False):
            if num_beams == 1:
                return sample_tokens(
                    *without(*self.start(z, batch_size), excluded),
                    max_length=max_length,
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    generator=generator,
                )
            if (temperature, top_k, top_p) != (1.0, None, None):
                raise ValueError("beam search does not sample: leave temperature, top_k and top_p unset")
            z = z.repeat_interleave(num_beams, 0) if z is not None else None
            step, state = without(*self.start(z, batch_size * num_beams), excluded)
            return beam_search(step, state, num_beams=num_beams, max_length=max_length)[0]

    def preview(self, z: Tensor, **options: Any) -> Tensor:
        """The sentence of the most probable word at each step, (B, T), unless options of `sample` say otherwise."""
        if not options.keys() & {"temperature", "top_k", "top_p", "num_beams"}:
            options["temperature"] = 0.0
        return self.sample(z, **options)

    def start(self, z: Tensor | None, batch_size: int) -> tuple[Step, State]:
        """The step function of generation, and its first state: h and c of each layer, (B, H).

        The part of the logits that depends on z alone is computed here, once.
        """
        first = tuple(part for state in self._initial_states(z, batch_size) for part in state)
        base = self._base(z, batch_size).t().contiguous()  # (V, B)
        # With few rows, CPUs are by far fastest from weights (H, V) and states (H, B) to logits (V, B).
        weight = self.output.hidden.weight.t().contiguous()

        def step(token: Tensor, state: State) -> tuple[Tensor, State]:
            h, after = self.embedding(token), list[Tensor]()
            for i, layer in enumerate(self.layers):
                h, c = torch.lstm_cell(self._input(i, h, z), state[2 * i : 2 * i + 2], *layer.parameters())
                after += [h, c]
            return torch.addmm(base, weight.t(), h.t().contiguous()).t(), tuple(after)

        return step, first

    # -- shared -----------------------------------------------------------------------------------------------------

    def _input(self, layer: int, h: Tensor, z: Tensor | None) -> Tensor:
        """The input of a layer: h (B, H) or (B, T, H), concatenated with z (B, K) where z reaches this layer."""
        if z is None or (layer > 0 and not self.skip):
            return h
        return torch.cat([h, z if h.dim() == 2 else z.unsqueeze(1).expand(-1, h.shape[1], -1)], -1)

    def _base(self, z: Tensor | None, batch_size: int) -> Tensor:
        """b_h [+ W_z z], the part of the logits that is the same at every token of a sentence, (B, V)."""
        return (self.output.base(z) + self.never).expand(batch_size, -1)

    def _initial_states(self, z: Tensor | None, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """h(0) and c(0) of each layer, (B, H): zero, except those of the last layer that z sets."""
        if (z is None) != (self.latent_dim == 0):
            raise ValueError("a decoder with latent_dim=0 takes z=None, any other needs z (B, K)")
        zero = self.embedding.weight.new_zeros(batch_size, self.hidden_dim)
        last = (zero, zero)
        if self.initial is not None:
            first = self.initial(z).to(zero.dtype)
            last = (first, zero) if self.first_state == "hidden" else (first.tanh(), first)
        return [(zero, zero)] * (len(self.layers) - 1) + [last]

    def _drop_words(self, inputs: Tensor) -> Tensor:
        if not (self.training and self.word_dropout):
            return inputs
        dropped = torch.rand(inputs.shape, device=inputs.device) < self.word_dropout
        return inputs.masked_fill(dropped & (inputs > EOS), UNK)
