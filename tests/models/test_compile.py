import shutil

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from datamodules import MNISTDigitsDataModule
from skipvae import VAE
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.inference import SVI


def trained(compile: bool) -> VAE:
    seed_everything(1, verbose=False)
    model = VAE(MLPEncoder(2, hidden_dim=8), MLPDecoder(2, hidden_dim=8, skip=True), compile=compile)
    trainer = Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=0,
    )
    trainer.fit(model, MNISTDigitsDataModule(train_size=100, batch_size=20))
    return model


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="compiling needs a C++ compiler")
def test_a_compiled_model_learns_the_same_and_keeps_the_names_of_its_weights() -> None:
    eager, compiled = trained(False).state_dict(), trained(True).state_dict()
    assert eager.keys() == compiled.keys()
    for name, weight in eager.items():
        torch.testing.assert_close(compiled[name], weight, atol=1e-4, rtol=1e-4)


def test_inference_that_differentiates_twice_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="amortized inference only"):
        VAE(None, MLPDecoder(2), SVI(num_steps=2), compile=True)
