"""``mingjing check`` on footage: says nothing but yes of a sound one, names what was changed."""

from pathlib import Path

import pytest

from contracts.timestamps import NS
from gateway.core.segmenter import SegmenterOptions
from mingjing.cli import main
from tests.h264_units import clip
from tests.integration.gateway.recording import Feed, media_files, volume

pytestmark = pytest.mark.integration


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    async with volume(tmp_path / "v") as store:
        feed = Feed(store, options=SegmenterOptions(file_ns=4 * NS))
        feed.session("s1")
        await feed.push(clip().unit(n) for n in range(150))
        feed.stop()
    return tmp_path / "v"


@pytest.mark.parametrize("level", ["presence", "size", "hash"])
def test_a_sound_volume_is_correct(
    folder: Path, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard output, status 0."""
    assert main(["check", "--level", level, str(folder)]) == 0
    told = capsys.readouterr()
    assert (told.out.count("\n"), told.err) == (1, "")


def test_one_changed_octet_is_found_by_hash_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the file, the broken rule and what to do."""
    file = media_files(folder)[0]
    octets = bytearray(file.read_bytes())
    octets[-1] ^= 1
    file.write_bytes(octets)
    assert main(["check", "--level", "size", str(folder)]) == 0
    capsys.readouterr()
    assert main(["check", "--level", "hash", str(folder)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert f"{file.relative_to(folder).as_posix()}: R4 " in told.err
    assert "restore" in told.err


def test_a_removed_file_is_found_without_reading(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Presence is enough to see that a file is gone."""
    file = media_files(folder)[0]
    file.unlink()
    assert main(["check", "--level", "presence", str(folder)]) == 1
    assert f"{file.relative_to(folder).as_posix()}: R2 " in capsys.readouterr().err


def test_any_other_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without footage must not pass for a sound one."""
    assert main(["check", str(tmp_path)]) == 1
    assert "footage.sqlite" in capsys.readouterr().err
