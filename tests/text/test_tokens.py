from typing import Any

import pytest
import torch

from skipvae.text.tokens import check_tokens, lengths, num_predictions

SENTENCES = torch.tensor([[2, 5, 6, 3], [2, 5, 3, 0], [2, 3, 0, 0]])


def test_pads_and_the_start_symbol_are_not_predicted() -> None:
    assert lengths(SENTENCES).tolist() == [4, 3, 2]
    assert num_predictions(SENTENCES).tolist() == [3, 2, 1]


def test_good_sentences_pass() -> None:
    check_tokens(SENTENCES, vocab_size=7)
    check_tokens(SENTENCES[:0], vocab_size=7)


@pytest.mark.parametrize(("token", "vocab_size"), [(6, 6), (-1, 7)])
def test_a_token_outside_the_vocabulary_is_named(token: int, vocab_size: int) -> None:
    x = SENTENCES.clone()
    x[0, 2] = token
    with pytest.raises(ValueError, match=f"token {token} is outside the model's vocabulary of {vocab_size}"):
        check_tokens(x, vocab_size)


@pytest.mark.parametrize("x", [SENTENCES.int(), SENTENCES.float(), SENTENCES[0], SENTENCES[:, :1]])
def test_what_is_no_batch_of_sentences_is_refused(x: Any) -> None:
    with pytest.raises(ValueError, match="sentences must be int64"):
        check_tokens(x, vocab_size=7)
