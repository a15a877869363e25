import copy
from typing import Any

import pytest
import torch

from skipvae import VAE
from skipvae.decoders import Decoder, MLPDecoder
from skipvae.encoders import Encoder, MLPEncoder
from skipvae.persistence.spec import Component, build


def vae() -> VAE:
    return VAE(MLPEncoder(3, hidden_dim=8), MLPDecoder(3, hidden_dim=8, skip=True), free_bits=0.1)


def test_spec_holds_plain_types_only_and_builds_the_same_model() -> None:
    model = vae()
    spec = model.spec
    assert spec["class_path"] == "skipvae.VAE"
    assert spec["init_args"]["decoder"] == {
        "class_path": "skipvae.decoders.MLPDecoder",
        "init_args": {"latent_dim": 3, "hidden_dim": 8, "skip": True},
    }
    again = build(spec, VAE)
    again.load_state_dict(model.state_dict())
    assert again.spec == spec


def test_what_does_not_describe_the_model_stays_out() -> None:
    model = VAE(MLPEncoder(3), MLPDecoder(3), optimizer=lambda p: torch.optim.SGD(p, 1.0), num_importance_samples=7)
    assert set(model.spec["init_args"]) == {"encoder", "decoder"}


def test_copies_keep_their_spec() -> None:
    model = vae()
    assert copy.deepcopy(model).spec == model.spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"class_path": "os.system", "init_args": {}}, "not known here"),
        ({"class_path": "skipvae.encoders.MLPEncoder", "init_args": {}}, "is not a"),
        ({"class_path": "skipvae.decoders.MLPDecoder", "init_args": {"depth": 3}}, "cannot be built"),
        ({"init_args": {}}, "needs a class_path"),
        ("skipvae.VAE", "needs a class_path"),
    ],
)
def test_a_bad_spec_is_refused(spec: dict[str, Any] | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(spec, Decoder)


def test_arguments_that_a_checkpoint_cannot_hold_are_named() -> None:
    class Odd(Encoder):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.latent_dim = 1

        def forward(self, x: torch.Tensor) -> None:
            raise NotImplementedError

    with pytest.raises(ValueError, match=r"Odd\(function=\.\.\.\) is a function"):
        _ = Odd(abs.__call__ and (lambda x: x)).spec
    assert issubclass(Odd, Component)
