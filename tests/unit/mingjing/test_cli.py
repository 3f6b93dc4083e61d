from pathlib import Path

import pytest

from mingjing.cli import build_parser, main

COMMANDS = ("demo", "agent", "gateway", "central", "bench", "doctor", "models", "check", "verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_in_both_languages(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--help says what the command does, in Chinese and English, and exits 0."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert any("\u4e00" <= letter <= "\u9fff" for letter in text)
    assert " / " in text


def test_there_is_no_command_without_a_test_above() -> None:
    """The list here is the list there."""
    actions = [a for a in build_parser()._actions if a.choices]
    assert set(actions[0].choices) == set(COMMANDS)


def test_verify_says_that_it_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A command of a later version does not pretend."""
    assert main(["verify", "package.zip"]) == 2
    assert "not there yet" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["agent", "gateway", "central"])
def test_missing_settings_are_one_line(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file's name and a status of 1, no traceback."""
    assert main([program, "--config", str(tmp_path / "none.toml")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_wrong_camera_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is made on disk for an address that cannot be right."""
    data = tmp_path / "var"
    assert main(["demo", "--data", str(data), "--camera", "http://u:geheim@h/"]) == 1
    assert not data.exists()
    assert "geheim" not in capsys.readouterr().err


def test_check_names_file_and_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong setting is told by name; a right one and an unknown kind are told apart."""
    wrong = tmp_path / "gateway.toml"
    wrong.write_text('site = "demo"\n[media]\nvolumes = []\n')
    assert main(["check", str(wrong)]) == 1
    assert "gateway.toml" in capsys.readouterr().err
    other = tmp_path / "other.toml"
    other.write_text("x = 1\n")
    assert main(["check", str(other)]) == 1
    assert "neither settings" in capsys.readouterr().err
