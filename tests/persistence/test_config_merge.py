"""Settings of one config on top of those of another."""

from copy import deepcopy
from typing import Any

import pytest

from skipvae.persistence.config_merge import merged

BASE = {
    "name": "base",
    "trainer": {"max_epochs": 9, "callbacks": [{"class_path": "a.A", "init_args": {"x": 1, "y": 2}}]},
    "model": {
        "class_path": "skipvae.VAE",
        "init_args": {
            "encoder": {"class_path": "skipvae.encoders.MLPEncoder", "init_args": {"hidden_dim": 5}},
            "decoder": {"class_path": "skipvae.decoders.MLPDecoder", "init_args": {"latent_dim": 3, "hidden_dim": 5}},
            "optimizer": None,
        },
    },
}
DECODER = BASE["model"]["init_args"]["decoder"]["init_args"]


def decoder(config: Any) -> Any:
    return config["model"]["init_args"]["decoder"]


@pytest.mark.parametrize(
    "own",
    [
        {"model": {"init_args": {"decoder": {"init_args": {"skip": True}}}}},
        {"model": {"decoder": {"skip": True}}},
        {"model.decoder.skip": True},
        {"model.init_args.decoder.init_args.skip": True},
        {"model.decoder": {"skip": True}},
        {"model.decoder.skip": True, "model": {"class_path": "skipvae.VAE", "init_args": None}},
    ],
)
def test_all_notations_set_the_same_and_leave_the_rest(own: dict[str, Any]) -> None:
    before = deepcopy(BASE)
    found = merged(BASE, own)
    assert decoder(found)["init_args"] == {**DECODER, "skip": True}
    del decoder(found)["init_args"]["skip"]
    assert found == BASE == before


def test_a_merged_config_shares_nothing() -> None:
    own = {"name": "own", "data": {"sizes": [1]}}
    found = merged(BASE, own)
    decoder(found)["init_args"].clear()
    found["data"]["sizes"].append(2)
    found["trainer"]["callbacks"].clear()
    assert decoder(BASE)["init_args"]
    assert BASE["trainer"]["callbacks"]
    assert own == {"name": "own", "data": {"sizes": [1]}}


@pytest.mark.parametrize("value", [None, 3, "text", [], ["a"], [{"class_path": "a.A", "init_args": {"x": 5}}]])
def test_whatever_is_no_mapping_is_replaced(value: Any) -> None:
    assert merged(BASE, {"trainer.callbacks": value})["trainer"] == {"max_epochs": 9, "callbacks": value}
    assert merged(BASE, {"model.decoder": None})["model"]["init_args"]["decoder"] is None
    assert merged(BASE, {"model": None})["model"] is None


def test_lists_can_be_added_to_and_their_last_object_changed() -> None:
    own = {"class_path": "b.B"}
    (first,) = BASE["trainer"]["callbacks"]
    for key in ({"trainer.callbacks+": own}, {"trainer": {"callbacks+": [own]}}):
        assert merged(BASE, key)["trainer"]["callbacks"] == [first, own]
    twice = merged(merged({}, {"trainer.callbacks+": own}), {"trainer.callbacks+": [own]})
    assert twice == {"trainer": {"callbacks+": [own, own]}}, "of whatever list it will be added to"
    assert merged(twice, {"trainer.callbacks": [own]}) == {"trainer": {"callbacks": [own]}}
    changed = merged(BASE, {"trainer.callbacks.x": 7})["trainer"]["callbacks"]
    assert changed == [{"class_path": "a.A", "init_args": {"x": 7, "y": 2}}]


@pytest.mark.parametrize(
    "own",
    [
        {"model": {"class_path": "skipvae.Autoregressive", "init_args": {"decoder": {"latent_dim": 0}}}},
        {"model.class_path": "skipvae.Autoregressive", "model.decoder.latent_dim": 0},
        {"model": "skipvae.Autoregressive", "model.decoder.latent_dim": 0},
    ],
)
def test_another_class_keeps_what_it_takes_too(own: dict[str, Any]) -> None:
    assert merged(BASE, own)["model"] == {
        "class_path": "skipvae.Autoregressive",
        "init_args": {"decoder": {**decoder(BASE), "init_args": {**DECODER, "latent_dim": 0}}, "optimizer": None},
    }


def test_arguments_of_the_classes_that_another_extends_are_its_own_too() -> None:
    base = {"x": {"class_path": "datamodules.VersesDataModule", "init_args": {"lowercase": True, "batch_size": 3}}}
    found = merged(base, {"x": "datamodules.MNISTDigitsDataModule"})
    assert found["x"] == {"class_path": "datamodules.MNISTDigitsDataModule", "init_args": {"batch_size": 3}}


@pytest.mark.parametrize("other", ["datamodules.PTBDataModule", {"class_path": "PTBDataModule", "init_args": {}}])
def test_other_data_start_anew(other: dict[str, Any] | str) -> None:
    base = {"data": {"class_path": "datamodules.VersesDataModule", "init_args": {"vocab_size": 9}}}
    assert merged(base, {"data": other}) == {"data": other}
    assert merged(base, {"data.class_path": "b.Other"}) == {"data": {"class_path": "b.Other"}}
    for same in ("VersesDataModule", "datamodules.VersesDataModule", {"init_args": {}}, {"vocab_size": 9}):
        assert merged(base, {"data": same}) == base


def test_classes_are_compared_by_their_whole_path() -> None:
    assert merged(BASE, {"model.class_path": "VAE"})["model"]["init_args"] == BASE["model"]["init_args"]
    with pytest.raises(ValueError, match=r"name the class Autoregressive with its module"):
        merged(BASE, {"model": {"class_path": "Autoregressive"}})
    unknown = merged(BASE, {"model.decoder.class_path": "nowhere.Decoder"})
    assert decoder(unknown) == {"class_path": "nowhere.Decoder", "init_args": {}}


def test_a_name_in_the_base_is_a_class_too() -> None:
    found = merged({"model": {"init_args": {"inference": "skipvae.inference.SVI"}}}, {"model": {"init_args": {}}})
    assert found["model"]["init_args"]["inference"] == "skipvae.inference.SVI"
    found = merged({"data": "datamodules.TextDataModule"}, {"data.train": "mine.txt"})
    assert found == {"data": {"class_path": "datamodules.TextDataModule", "init_args": {"train": "mine.txt"}}}


ODD = {"class_path": "..", "init_args": []}


@pytest.mark.parametrize(
    "junk", [None, 3, "x", "a.b", [], [None], {}, {1: 2}, {"class_path": 1}, {"init_args": []}, ODD]
)
def test_anything_can_stand_on_anything(junk: Any) -> None:
    for key in ("name", "trainer", "model", "model.decoder", "trainer.callbacks", "trainer.callbacks.x", "a.b.c"):
        found = merged(BASE, {key: junk})
        merged(found, BASE)
        merged(found, {key: junk, f"{key}.more": 1, f"{key}+": 2})
