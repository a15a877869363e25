"""Two configs are compared setting by setting, whatever files the classes that they name stand in."""

from skipvae.persistence.settings import differences


def test_a_class_that_moved_is_the_class_it_was() -> None:
    was = {"class_path": "skipvae.schedulers.HalveOnPlateau", "init_args": {"min_epochs": 15}}
    now = {"class_path": "skipvae.training.schedulers.HalveOnPlateau", "init_args": {"min_epochs": 15}}
    assert list(differences({"model": {"lr_scheduler": was}}, {"model": {"lr_scheduler": now}})) == []
    now["init_args"] = {"min_epochs": 5}
    found = differences({"model": {"lr_scheduler": was}}, {"model": {"lr_scheduler": now}})
    assert list(found) == [("model.lr_scheduler.min_epochs", 15, 5)]


def test_another_class_or_one_that_is_gone_is_a_difference() -> None:
    was = {"class_path": "skipvae.schedulers.HalveOnPlateau"}
    for other in ("skipvae.schedulers.HalveAndReload", "skipvae.no_such_module.HalveOnPlateau", "HalveOnPlateau"):
        found = list(differences({"model": {"lr_scheduler": was}}, {"model": {"lr_scheduler": {"class_path": other}}}))
        assert found == [("model.lr_scheduler", "skipvae.schedulers.HalveOnPlateau", other)]
