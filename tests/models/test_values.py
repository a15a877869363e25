"""Values in and out of a model in Python: NumPy arrays, sentences and rows in units."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from skipvae import VAE, load
from skipvae.decoders import LSTMDecoder, MLPDecoder
from skipvae.encoders import LSTMEncoder, MLPEncoder
from skipvae.likelihoods import DiscretizedLogistic, Gaussian
from skipvae.models.class_codes import ClassCodes, class_codes
from tests.command_line import digits

WORDS = ("<pad>", "<unk>", "<bos>", "<eos>", "a", "b", "c")


def image_model() -> VAE:
    torch.manual_seed(0)
    return VAE(MLPEncoder(latent_dim=2, hidden_dim=8), MLPDecoder(latent_dim=2, hidden_dim=8, skip=True))


def text_model() -> VAE:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(WORDS), "embedding_dim": 4, "hidden_dim": 8}
    model = VAE(LSTMEncoder(latent_dim=2, **sizes), LSTMDecoder(latent_dim=2, **sizes, skip=True))
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    model.codecs = {"vocabulary": tokenizer.to_str()}
    return model


def table_model() -> VAE:
    torch.manual_seed(0)
    shape = {"latent_dim": 2, "hidden_dim": 8, "image_shape": (2,)}
    model = VAE(MLPEncoder(**shape), MLPDecoder(**shape, likelihood=Gaussian()))
    model.codecs = {"columns": json.dumps({"names": ["tall", "wide"], "mean": [170.0, 3.0], "scale": [10.0, 0.5]})}
    return model


def test_images_in_and_out() -> None:
    model, x = image_model(), torch.rand(5, 1, 28, 28)
    codes = model.encode(x)
    posterior = model.infer(x)
    assert codes.mean == pytest.approx(posterior.mean.detach().numpy())
    assert codes.std == pytest.approx((0.5 * posterior.logvar).exp().detach().numpy())
    assert model.training
    for other in (x.numpy(), list(x.numpy()), x.requires_grad_()):
        assert np.allclose(model.encode(other, batch_size=2).mean, codes.mean, atol=1e-6)
    images = model.decode(codes.mean, batch_size=2)
    assert images.shape == (5, 1, 28, 28)
    assert images == pytest.approx(model.reconstruct(x).numpy(), abs=1e-6)
    assert model.encode(x.detach().double().numpy()).mean.dtype == np.float32
    assert model.double().encode(x.detach()).mean.dtype == np.float32


def test_what_was_decoded_can_be_encoded() -> None:
    """Means of bytes are fractions between them, which are rounded; fractions beyond 1 are refused."""
    torch.manual_seed(0)
    shape = {"latent_dim": 2, "hidden_dim": 8}
    model = VAE(MLPEncoder(**shape), MLPDecoder(**shape, likelihood=DiscretizedLogistic()))
    images = model.decode(np.zeros((2, 2)))
    codes = model.encode(images)
    assert codes.mean == pytest.approx(model.encode((images * 255).round().astype(np.uint8)).mean, abs=1e-6)
    with pytest.raises(ValueError, match="float32 from"):
        model.encode(images * 255)


def test_sentences_do_not_depend_on_their_batch() -> None:
    model = text_model()
    sentences = ["a", "a b c a b c", "b nonsense", "c c", "a b"]
    codes = model.encode(sentences, batch_size=2)
    for i, sentence in enumerate(sentences):
        assert model.encode(sentence).mean[0] == pytest.approx(codes.mean[i], abs=1e-6)
    decoded = model.decode(codes.mean, max_length=4)
    assert len(decoded) == 5
    assert decoded == [model.decode(mean[None], max_length=4)[0] for mean in codes.mean]
    assert {word for text in decoded for word in text.split()} <= set(WORDS)


def test_the_unknown_word_can_be_kept_out() -> None:
    model = text_model()
    with torch.no_grad():
        model.decoder.output.hidden.bias[1] = 10.0  # the unknown word is by far the most probable
    z = np.zeros((3, 2), np.float32)
    assert all("<unk>" in text for text in model.decode(z, max_length=5))
    for options in ({}, {"temperature": 1.0}, {"num_beams": 2}):
        assert all("<unk>" not in text for text in model.decode(z, max_length=5, exclude_unk=True, **options))


def test_rows_are_in_the_units_of_the_table() -> None:
    model = table_model()
    rows = [[180.0, 2.5], [170.0, 3.0]]
    x = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    assert model.encode(rows).mean == pytest.approx(model.infer(x).mean.detach().numpy(), abs=1e-6)
    expected = np.array([170.0, 3.0]) + np.array([10.0, 0.5]) * model.decoder.mean(torch.ones(1, 2)).detach().numpy()
    assert model.decode([[1.0, 1.0]]) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="'wide' of row 1 is nan"):
        model.encode([[1.0, 2.0], [1.0, float("nan")]])
    with pytest.raises(ValueError, match="columns tall, wide"):
        model.encode([[1.0]])


def test_latent_vectors_of_another_size_are_refused() -> None:
    for z, message in (([[1.0]], r"\(N, 2\)"), ([1.0, 2.0], r"\(N, 2\)"), ([[np.nan, 0.0]], "not finite")):
        with pytest.raises(ValueError, match=message):
            image_model().decode(z)


def test_a_checkpoint_needs_no_trainer(tmp_path: Path) -> None:
    for model, values in ((text_model(), ["a b", "c"]), (table_model(), [[180.0, 2.0]])):
        model.save_checkpoint(tmp_path / "new" / "a.ckpt")
        again = load(tmp_path / "new" / "a.ckpt")
        assert not again.training
        assert np.array_equal(again.encode(values).mean, model.encode(values).mean)
        assert again.codecs == model.codecs
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.ckpt"]
    with torch.no_grad():
        model.decoder.output.hidden.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError):
        model.save_checkpoint(tmp_path / "b.ckpt")


def test_models_can_be_pickled_and_copied() -> None:
    for model, values in ((image_model(), torch.rand(2, 28, 28)), (text_model(), ["a b", "c"])):
        expected = model.encode(values).mean
        for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert np.array_equal(other.encode(values).mean, expected)
            other.decoder.requires_grad_(False)
        assert next(model.decoder.parameters()).requires_grad


class Labelled:
    """A data module of three digits' images and labels."""

    label_names = ("zero", "one")

    def __init__(self) -> None:
        images = digits().train.images[:40].float() / 255
        self.batches = [(images[:20], torch.arange(20) % 2), (images[20:], torch.ones(20, dtype=torch.long))]

    def prepare_data(self) -> None: ...

    def setup(self, stage: str) -> None: ...

    def train_dataloader(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return self.batches


def test_a_class_is_the_gaussian_of_its_codes() -> None:
    model, data = image_model(), Labelled()
    codes = class_codes(model, "one", data)
    x = torch.cat([x[label == 1] for x, label in data.batches])
    posterior = model.infer(x)
    assert codes.mean.tolist() == pytest.approx(posterior.mean.mean(0).tolist(), abs=1e-6)
    covariance = np.cov(posterior.mean.detach().double().numpy().T, bias=True)
    covariance += np.diag(posterior.logvar.exp().mean(0).detach().numpy())
    assert codes.covariance.numpy() == pytest.approx(covariance, abs=1e-6)
    with pytest.raises(ValueError, match="there is no class on: did you mean one"):
        class_codes(model, "on", data)
    data.label_names = ("zero", "one", "two")
    with pytest.raises(ValueError, match="no examples of class two"):
        class_codes(model, "two", data)
    data.label_names = ()
    assert torch.equal(class_codes(model, "1", data).mean, codes.mean)
    with pytest.raises(ValueError, match="give the number"):
        class_codes(model, "one", data)


def test_draws_of_a_class_have_its_moments() -> None:
    torch.manual_seed(0)
    mean, variance = torch.randn(50, 2) @ torch.tensor([[1.0, 0.5], [0.0, 2.0]]) + 3, torch.rand(50, 2)
    codes = ClassCodes(mean, variance)
    z = codes.sample(20_000).double()
    error = (codes.covariance.diag() / 20_000).sqrt()
    assert ((z.mean(0) - codes.mean).abs() < 4 * error).all()
    assert torch.allclose(z.T.cov(), codes.covariance, rtol=0.1, atol=0.05)
