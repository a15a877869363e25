from argparse import ArgumentError

import pytest

from skipvae.errors import USER_ERRORS, one_line


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_layers_of_an_error_are_taken_off() -> None:
    inner = ValueError("batch_size=0 must be at least 1")
    assert one_line(caused(OSError("Problem with the class"), inner)) == str(inner)


def test_a_cause_that_is_not_the_users_stays_hidden() -> None:
    assert one_line(caused(ValueError("not a checkpoint"), KeyError("state"))) == "not a checkpoint"


@pytest.mark.parametrize(
    "message", ["one\ntwo\n  - three", "Does not validate against any of the Union subtypes\none\n- two:\n   - three"]
)
def test_it_is_one_line_without_the_noise_of_the_parser(message: str) -> None:
    assert one_line(ArgumentError(None, message)) == "one: two: three"


def test_a_value_of_none_of_several_types_is_named() -> None:
    types = "Expected a <class 'int'>\n - Expected a <class 'list'>"
    message = f"Key:\n {types}\n Given value type: <class 'str'>\n Given value: 8.5"
    assert one_line(ArgumentError(None, message)) == "Key: 8.5 is none of int, list"


def test_an_error_without_words_is_named() -> None:
    assert one_line(ValueError()) == "ValueError"


def test_what_a_class_takes_is_said_when_it_is_given_something_else() -> None:
    message = "Problem with given class_path 'skipvae.decoders.MLPDecoder':\n  Option 'depth' is not accepted"
    said = one_line(ArgumentError(None, message))
    assert "Option 'depth' is not accepted; it takes latent_dim, image_shape, hidden_dim, num_layers, skip" in said


def test_bugs_are_not_the_users() -> None:
    for bug in (KeyError, TypeError, AttributeError, AssertionError, IndexError):
        assert not issubclass(bug, USER_ERRORS)
    for mistake in (FileNotFoundError, PermissionError, FloatingPointError):
        assert issubclass(mistake, USER_ERRORS)
