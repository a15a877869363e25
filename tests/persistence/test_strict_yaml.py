"""The dialect that files and command lines are read in."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser

from skipvae.persistence.strict_yaml import load_text, load_yaml, use_for_arguments


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("off", "on", "no", "yes", "No", "12:30", "1:30:00", "010", "2024-01-01", "1e")),
        *((number, float(number)) for number in ("1e-3", "1E3", "-2e5", ".5", "5.", "1.0e-05")),
        *((".inf", float("inf")), ("-.inf", float("-inf"))),
        *((number, int(number)) for number in ("0", "12", "-3", "+4", "1_000")),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'no'", "no")),
    ],
)
def test_what_plain_text_is_read_as(text: Any, value: Any) -> None:
    (found,) = load_text(f"[{text}]") if text else [load_text(text)]
    assert (found, type(found)) == (value, type(value))


def parser() -> Any:
    def function(text: str | None = None, name: str = "", count: int = 1, anything: object = None) -> None: ...

    use_for_arguments()
    made = ArgumentParser(exit_on_error=False)
    made.add_argument("--config", action="config")
    made.add_function_arguments(function, as_group=False)
    return made


@pytest.mark.parametrize("text", ["# not a comment", "warning:", "{a, b}", "no", "1e3", "12:30", "a: b"])
def test_text_on_the_command_line_stays_text(text: str) -> None:
    assert parser().parse_args([f"--text={text}"]).text == text


def test_configs_are_read_alike(workspace: Path) -> None:
    Path("config.yaml").write_text("name: no\ntext: 1:30\nanything: {off: 010, no: [yes, 1e-3]}\n")
    read = parser().parse_args(["--config=config.yaml"])
    assert (read.name, read.text, read.anything) == ("no", "1:30", {"off": "010", "no": ["yes", 0.001]})


@pytest.mark.parametrize("text", ["1e-3", "no", "010", "1:30", "true", "null", "2024-01-01", "a: b", "# c", "é"])
def test_what_a_config_says_is_read_as_it_was_written(text: str, tmp_path: Path) -> None:
    written = parser().dump(parser().parse_args([f"--name={text}"]))
    (tmp_path / "config.yaml").write_text(written, encoding="utf-8")
    assert load_yaml(tmp_path / "config.yaml")["name"] == text
    assert yaml.safe_load(written)["name"] == text, "other readers of YAML see the same"
    assert parser().parse_args([f"--config={tmp_path / 'config.yaml'}"]).name == text


def test_keys_can_be_text_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("off: {no: 1, 010: 2, 1e-2: 3, null: 4}\n")
    assert load_yaml(file, text_keys=True) == {"off": {"no": 1, "010": 2, "1e-2": 3, "null": 4}}
    assert load_yaml(file) == {"off": {"no": 1, "010": 2, 0.01: 3, None: 4}}
