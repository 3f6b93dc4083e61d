"""Whatever is changed on the disk or in the index, the check names it."""

import shutil
import sqlite3

import pytest

from contracts.errors import Unavailable
from contracts.timestamps import NS, WallTime
from gateway.adapters.footage.audit import VolumeAudit
from gateway.adapters.footage.schema import open_for_writing
from gateway.core.parts import Interrupted
from gateway.core.segmenter import SegmenterOptions
from gateway.services.footage_check import check_footage
from tests.h264_units import START, clip
from tests.integration.gateway.recording import Feed, findings, media_files, volume

pytestmark = pytest.mark.integration


@pytest.fixture
async def folder(tmp_path):
    async with volume(tmp_path / "v") as store:
        feed = Feed(store, options=SegmenterOptions(file_ns=4 * NS))
        feed.session("s1")
        await feed.push(clip().unit(n) for n in range(150))
        feed.interrupt(Interrupted(at=WallTime(START), cause="no_media"))
        await feed.push(clip().unit(n) for n in range(200, 300))
        feed.stop()
    return tmp_path / "v"


def _sql(folder, statement):
    index = open_for_writing(folder)
    index.execute("PRAGMA foreign_keys = OFF")
    assert index.execute(statement).rowcount > 0
    index.close()


def _numbers(folder, level="hash"):
    return {finding.invariant for finding in check_footage(VolumeAudit(folder), level=level)}


def test_a_sound_volume_has_no_findings(folder):
    assert findings(folder) == []


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("UPDATE parts SET start_ns = start_ns - 1 WHERE sequence = 3", "R5"),
        ("UPDATE parts SET end_ns = end_ns + 1 WHERE sequence = 3", "R5"),
        ("UPDATE parts SET sha256 = zeroblob(32) WHERE sequence = 3", "R4"),
        ("UPDATE parts SET chain = zeroblob(32) WHERE sequence = 3", "R5"),
        ("DELETE FROM parts WHERE sequence = 3", "R5"),
        ("DELETE FROM parts WHERE sequence = 3", "R3"),
        ("DELETE FROM parts WHERE sequence = 3", "R7"),
        ("UPDATE parts SET frames = zeroblob(9) WHERE sequence = 3", "R6"),
        ("UPDATE parts SET media_ticks = media_ticks + 1 WHERE sequence = 3", "R6"),
        ("UPDATE files SET size = size - 1 WHERE id = 1", "R3"),
        ("DELETE FROM gaps WHERE cause = 'no_media'", "R7"),
        ("UPDATE gaps SET to_ns = to_ns - 1 WHERE cause = 'no_media'", "R7"),
        ("UPDATE spans SET end_ns = end_ns + 1 WHERE id = 1", "R8"),
        ("DELETE FROM spans WHERE id = 2", "R8"),
        ("DELETE FROM files WHERE id = 1", "R1"),
        ("DELETE FROM files WHERE id = 1", "R0"),
    ],
)
def test_a_changed_index_is_found(folder, statement, invariant):
    _sql(folder, statement)
    assert invariant in _numbers(folder)


def test_one_flipped_bit_is_found_and_located(folder):
    path = media_files(folder)[0]
    octets = bytearray(path.read_bytes())
    octets[-1000] ^= 4
    path.write_bytes(octets)
    (finding,) = findings(folder)
    assert finding.invariant == "R4"
    assert finding.where.endswith(path.name)
    assert _numbers(folder, "size") == set()


def test_two_swapped_parts_are_found(folder):
    index = sqlite3.connect(folder / "footage.sqlite")
    (one, two) = index.execute(
        "SELECT offset, length FROM parts WHERE file_id = 1 ORDER BY offset LIMIT 2"
    ).fetchall()
    index.close()
    path = media_files(folder)[0]
    octets = path.read_bytes()
    first = octets[one[0] : sum(one)]
    second = octets[two[0] : sum(two)]
    path.write_bytes(octets[: one[0]] + second + first + octets[sum(two) :])
    assert [finding.invariant for finding in findings(folder)] == ["R4", "R4"]


def test_a_deleted_file_is_found_without_reading_one(folder):
    media_files(folder)[0].unlink()
    assert _numbers(folder, "presence") == {"R2"}


def test_a_shortened_file_is_found_by_its_size(folder):
    path = media_files(folder)[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert _numbers(folder, "size") == {"R3"}


def test_a_file_nobody_wrote_is_found(folder):
    shutil.copy(media_files(folder)[0], media_files(folder)[0].with_name("stray.mp4"))
    assert _numbers(folder, "presence") == {"R1"}


def test_a_folder_without_an_index_is_named(tmp_path):
    with pytest.raises(Unavailable, match=r"footage\.sqlite"):
        VolumeAudit(tmp_path)
