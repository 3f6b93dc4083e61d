import pytest

from central.api.schemas import FormField
from contracts.errors import InvalidInput
from contracts.timestamps import NS
from mingjing.footage_check import ByteRange, read_playlist
from mingjing.sample_case import filled_form

PLAYLIST = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:2
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MAP:URI="files/00af.mp4",BYTERANGE="812@0"
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T01:00:00.500Z
#EXTINF:2.000,
#EXT-X-BYTERANGE:40000@812
files/00af.mp4
#EXTINF:2.000,
#EXT-X-BYTERANGE:41000@40812
files/00af.mp4
#EXT-X-ENDLIST
"""


def test_first_segment_is_found_as_a_player_finds_it() -> None:
    """Initialisation, byte range and wall time of the first segment."""
    first = read_playlist(PLAYLIST)
    assert first.initialisation == ByteRange(uri="files/00af.mp4", offset=0, length=812)
    assert first.media.header() == "bytes=812-40811"
    assert first.begins_ns == 1_795_482_000 * NS + NS // 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "#EXTM3U\n#EXT-X-ENDLIST\n",
        PLAYLIST.replace("#EXT-X-MAP", "#EXT-X-NAP"),
        PLAYLIST.replace("40000@812", "many@812"),
        PLAYLIST.replace("2026-11-24T", "yesterday"),
    ],
)
def test_playlist_without_what_a_player_needs_is_refused(text: str) -> None:
    """An empty or cut playlist does not pass for footage."""
    with pytest.raises(InvalidInput):
        read_playlist(text)


def test_form_is_filled_as_the_pack_demands() -> None:
    """Required fields only, each with a value of its kind."""
    fields = [
        FormField(code="a", label="A", kind="choice", required=True, choices=["受理", "不予受理"]),
        FormField(code="b", label="B", kind="text", required=True),
        FormField(code="c", label="C", kind="person", required=True),
        FormField(code="d", label="D", kind="date", required=True),
        FormField(code="e", label="E", kind="long_text", required=False),
    ]
    values = filled_form(fields, "liu-yang")
    assert (values["a"], values["c"], sorted(values)) == ("受理", "liu-yang", ["a", "b", "c", "d"])
    assert len(values["d"]) == len("2026-11-24")
