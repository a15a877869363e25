"""Every network of the project is exported, or refused with the reason, and its file computes the same."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor

from skipvae import VAE, Autoregressive, decoders, encoders
from skipvae.decoders import (
    Decoder,
    GatedPixelCNNDecoder,
    GaussianMLPDecoder,
    ImageDecoder,
    LSTMDecoder,
    MLPDecoder,
    ResidualPixelCNNDecoder,
    ResNetDecoder,
)
from skipvae.encoders import (
    Encoder,
    GroupNormResNetEncoder,
    LSTMEncoder,
    MLPEncoder,
    ResNetEncoder,
    StridedResNetEncoder,
)
from skipvae.export import FORMATS, export_model
from skipvae.inference import SVI, SemiAmortized
from skipvae.likelihoods import Categorical, DiscretizedLogistic
from skipvae.models import GenerativeModel

SHAPE, COLOR = (1, 8, 8), (3, 9, 7)
TEXT: dict[str, Any] = {"vocab_size": 9, "embedding_dim": 4, "hidden_dim": 6, "num_layers": 2}
MODELS: dict[str, Callable[[], GenerativeModel]] = {
    "mlp": lambda: VAE(MLPEncoder(2, SHAPE, 8), MLPDecoder(2, SHAPE, 8, skip=True)),
    "table": lambda: VAE(MLPEncoder(2, (5,), 8), MLPDecoder(2, (5,), 8)),
    "gaussian": lambda: VAE(ResNetEncoder(2, SHAPE, [4, 4]), GaussianMLPDecoder(2, SHAPE, 8, skip=True)),
    "resnet": lambda: VAE(
        GroupNormResNetEncoder(2, COLOR, [4, 8]),
        ResNetDecoder(2, COLOR, [8, 4], skip=True, likelihood=DiscretizedLogistic(2, coupled=True)),
    ),
    "pixelcnn": lambda: VAE(
        StridedResNetEncoder(2, SHAPE, [4, 4], 8), GatedPixelCNNDecoder(2, SHAPE, 4, 2, skip=True, layer="published")
    ),
    "color pixelcnn": lambda: VAE(
        MLPEncoder(2, COLOR, 8), GatedPixelCNNDecoder(2, COLOR, 6, 2, likelihood=Categorical())
    ),
    "pixelcnn without z": lambda: Autoregressive(GatedPixelCNNDecoder(0, SHAPE, 4, 2)),
    "residual pixelcnn": lambda: VAE(
        MLPEncoder(2, SHAPE, 8), ResidualPixelCNNDecoder(2, SHAPE, 4, [3, 3, 3, 3], skip=True)
    ),
    "lstm": lambda: VAE(LSTMEncoder(2, recompute=True, **TEXT), LSTMDecoder(2, skip=True, first_state="cell", **TEXT)),
    "language model": lambda: Autoregressive(LSTMDecoder(0, output_bias=False, **TEXT)),
}
WORDS = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "let": 4, "there": 5, "be": 6, "light": 7, "and": 8}
VOCABULARY = Tokenizer(WordLevel(WORDS, unk_token="<unk>")).to_str()


def make(name: str) -> Any:
    """A model whose weights are random, all of them, so that every part of it matters."""
    torch.manual_seed(3)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.4)
    return model


def test_the_table_above_holds_every_network() -> None:
    parts = [part for name in MODELS for part in make(name).parts]
    bases = {Encoder, Decoder, ImageDecoder}
    for package in (encoders, decoders):
        known = {getattr(package, name) for name in package.__all__} - bases
        assert known <= {type(part) for part in parts}


@pytest.mark.parametrize("name", MODELS)
def test_each_network_becomes_a_program_that_computes_the_same(name: str, tmp_path: Path) -> None:
    check(name, "torch_export", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_each_network_becomes_an_onnx_file_that_computes_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs pip install 'skipvae[export]'")
    check(name, "onnx", tmp_path)


def check(name: str, format: str, folder: Path) -> None:
    """Exports a model, which compares the files with it, and compares what they say of themselves with it, too."""
    model = make(name)
    state = torch.random.get_rng_state()
    record = export_model(model, folder, format)
    assert torch.equal(state, torch.random.get_rng_state())
    assert json.loads((folder / "export.json").read_text()) == record
    assert {path.name for path in folder.iterdir()} == {*record["files"], "export.json"}
    for file in record["files"].values():
        assert file["largest_difference"] < 1e-5
    text = model.decoder.modality == "text"
    suffix = FORMATS[format].suffix
    stems = {name.removesuffix(suffix) for name in record["files"]}
    vae = isinstance(model, VAE)
    assert stems == {*["encoder"] * vae, *(["decoder_step", *["decoder_start"] * vae] if text else ["decoder"])}
    if vae:
        mean, logvar = record["files"]["encoder" + suffix]["outputs"]
        assert (mean["name"], mean["shape"], logvar["name"]) == ("mean", ["batch", 2], "logvar")
    if not text:
        outputs = record["files"]["decoder" + suffix]["outputs"]
        assert outputs[0]["name"] == "parameters"
        assert "skipvae." not in outputs[0]["meaning"]
        assert len(outputs[0]["meaning"]) > 20
    assert bool(record["notes"]) == ("pixelcnn" in name)
    assert ("scale" in record) == (name in ("gaussian", "table"))


def test_the_model_stays_as_it_is_and_works_after_its_export(tmp_path: Path) -> None:
    model, x = make("lstm").train(), torch.tensor([[2, 4, 5, 3]])
    before = model.infer(x).mean
    export_model(model, tmp_path, "torch_export")
    assert model.training
    assert model.encoder.training
    assert torch.equal(model.infer(x).mean, before)
    model.loss(x)["loss"].backward()
    assert model.encoder.embedding.weight.grad.abs().sum() > 0


# -- without skipvae --------------------------------------------------------------------------------------------------

OUTSIDE = """
import json, sys
import numpy as np
import onnxruntime

folder = sys.argv[1]
record = json.load(open(folder + "/export.json"))
run = {name: onnxruntime.InferenceSession(f"{folder}/{name}").run for name in record["files"]}
x = np.load(folder + "/x.npy")
mean, logvar = run["encoder.onnx"](None, {"x": x})
state = run["decoder_start.onnx"](None, {"z": mean})
names = [value["name"] for value in record["files"]["decoder_step.onnx"]["inputs"]][2:]
token, sentences = np.full(len(x), 2), [np.full(len(x), 2)]
for _ in range(6):
    logits, *state = run["decoder_step.onnx"](None, {"token": token, "z": mean, **dict(zip(names, state))})
    token = logits.argmax(1)
    sentences.append(token)
np.savez(folder + "/found.npz", mean=mean, logvar=logvar, tokens=np.stack(sentences, 1))
assert not {"torch", "skipvae"} & set(sys.modules)
"""


@pytest.mark.slow
def test_onnxruntime_alone_encodes_and_writes_sentences(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs pip install 'skipvae[export]'")
    model = make("lstm")
    model.codecs["vocabulary"] = VOCABULARY
    record = export_model(model, tmp_path, "onnx")
    assert record["codecs"] == ["vocabulary.json"]
    assert (tmp_path / "vocabulary.json").read_text() == VOCABULARY
    assert [value["shape"] for value in record["files"]["encoder.onnx"]["inputs"]] == [["batch", "length"]]
    x = torch.tensor([[2, 4, 5, 6, 7, 3], [2, 8, 4, 3, 0, 0], [2, 1, 3, 0, 0, 0]])
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, "-c", OUTSIDE, str(tmp_path)], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "found.npz")
    posterior = model.infer(x)
    torch.testing.assert_close(torch.from_numpy(found["mean"]), posterior.mean)
    torch.testing.assert_close(torch.from_numpy(found["logvar"]), posterior.logvar)
    greedy = model.decoder.sample(posterior.mean, max_length=6, temperature=0.0)
    tokens = torch.from_numpy(found["tokens"])[:, : greedy.shape[1]]
    assert torch.equal(tokens.masked_fill(greedy == 0, 0), greedy)


# -- what cannot be exported ------------------------------------------------------------------------------------------


def test_inference_by_steps_says_what_its_encoder_is_worth(tmp_path: Path) -> None:
    refined = VAE(MLPEncoder(2, (5,), 8), MLPDecoder(2, (5,), 8), SemiAmortized(num_steps=2))
    record = export_model(refined, tmp_path / "refined", "torch_export")
    assert list(record["files"]) == ["encoder.pt2", "decoder.pt2"]
    assert "The encoder gives the posterior that SemiAmortized starts from" in record["notes"][0]
    without = export_model(VAE(None, MLPDecoder(2, (5,), 8), SVI(num_steps=2)), tmp_path / "svi", "torch_export")
    assert list(without["files"]) == ["decoder.pt2"]
    assert "There is no encoder: SVI infers z by gradient steps" in without["notes"][0]
    assert without["scale"] == pytest.approx([(1 + 0.01**2) ** 0.5] * 5)


class Unknown(Decoder):
    """A decoder with a likelihood and samples alone."""

    def __init__(self, latent_dim: int = 2) -> None:
        super().__init__()
        self.latent_dim, self.skip = latent_dim, False

    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        return x.flatten(1).sum(1)

    def sample(self, z: Tensor | None, *args: Any, **options: Any) -> Tensor:
        return torch.zeros(1)


class DataDependent(MLPEncoder):
    """An encoder that looks at values, as no graph can."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x if x.sum() > 0 else -x)


def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match="Unknown cannot be exported: it is no ImageDecoder"):
        export_model(VAE(MLPEncoder(2, (5,), 8), Unknown()), folder, "torch_export")
    with pytest.raises(ValueError, match=r"^DataDependent cannot be exported: [^\n]+$"):
        export_model(VAE(DataDependent(2, (5,), 8), MLPDecoder(2, (5,), 8)), folder, "torch_export")
    with pytest.raises(ValueError, match=r"format is 'tflite': choose from onnx, torch_export"):
        export_model(make("table"), folder, "tflite")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_from_its_model_is_not_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "decoder.pt2").write_text("an earlier one")
    run = FORMATS["torch_export"].run
    monkeypatch.setattr(
        type(FORMATS["torch_export"]), "run", lambda *args: [[a + 1 for a in row] for row in run(*args[1:])]
    )
    with pytest.raises(
        ValueError, match=r"encoder.pt2 differs from the model by .*, more than the tolerance of 0.0001"
    ):
        export_model(make("table"), tmp_path, "torch_export")
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.pt2"]
    assert (tmp_path / "decoder.pt2").read_text() == "an earlier one"


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipvae.errors.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ModuleNotFoundError, match=r"needs onnxscript, .* pip install 'skipvae\[export\]'"):
        export_model(make("table"), tmp_path / "new", "onnx")
    assert not (tmp_path / "new").exists()
