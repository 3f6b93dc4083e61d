"""Segments and playlists over indexed parts."""

from dataclasses import replace

from gateway.core.hls import IndexedFile, IndexedPart, entitled_range, playlist, segments

SECOND = 1_000_000_000
START = 1_790_000_000_000_000_000
HEAD = 700


def _parts(count, *, file_id=1, at=0, run=1, config_id=1, every=2):
    """One part a second, 1000 octets each, a key frame in every second one."""
    return [
        IndexedPart(
            file_id=file_id,
            config_id=config_id,
            run=run,
            rate=90_000,
            init_bytes=HEAD,
            start_ns=START + (at + n) * SECOND,
            end_ns=START + (at + n + 1) * SECOND,
            media_start=(at + n) * 90_000,
            media_ticks=90_000,
            is_key=n % every == 0,
            offset=HEAD + 1000 * n,
            length=1000,
        )
        for n in range(count)
    ]


def _file(parts):
    end = parts[-1].offset + parts[-1].length
    return IndexedFile(
        file_id=1, name="x", init_bytes=HEAD, size=end, version="v", parts=tuple(parts)
    )


def test_a_playlist_of_one_file_is_exactly_this():
    text = playlist(segments(_parts(4)))
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="files/1.mp4",BYTERANGE="700@0"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:13:20.000Z",
        "#EXTINF:2.000000,",
        "#EXT-X-BYTERANGE:2000@700",
        "files/1.mp4",
        "#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:13:22.000Z",
        "#EXTINF:2.000000,",
        "#EXT-X-BYTERANGE:2000@2700",
        "files/1.mp4",
        "#EXT-X-ENDLIST",
    ]


def test_a_rotation_is_no_discontinuity():
    text = playlist(segments([*_parts(4), *_parts(4, file_id=2, at=4)]))
    assert "DISCONTINUITY" not in text
    assert text.count("#EXT-X-MAP") == 1
    assert text.count("files/2.mp4") == 2


def test_a_gap_a_new_run_and_a_new_configuration_are_discontinuities():
    for other in (
        _parts(2, file_id=2, at=5),
        _parts(2, file_id=2, at=4, run=2),
        _parts(2, file_id=2, at=4, config_id=2),
    ):
        text = playlist(segments([*_parts(4), *other]))
        assert text.count("#EXT-X-DISCONTINUITY\n") == 1
        assert text.count("#EXT-X-MAP") == len({p.config_id for p in other} | {1})
        assert "EXT-X-GAP" not in text


def test_parts_before_the_first_key_frame_are_not_listed():
    (segment,) = segments(_parts(4)[1:])
    assert segment.offset == HEAD + 2000


def test_a_short_hole_stays_inside_its_segment():
    first, second = _parts(2)
    second = replace(second, start_ns=second.start_ns + SECOND // 5)
    assert len(segments([first, second])[0].parts) == 2


def test_after_a_long_hole_playing_goes_on_at_a_key_frame():
    parts = _parts(6, every=3)
    moved = [replace(p, start_ns=p.start_ns + SECOND, end_ns=p.end_ns + SECOND) for p in parts[1:]]
    first, second = segments([parts[0], *moved])
    assert len(first.parts) == 1
    assert second.offset == HEAD + 3000
    assert not second.follows(first)


def test_an_interval_entitles_to_the_segments_it_touches():
    file = _file(_parts(10))
    assert entitled_range(file, START + 3 * SECOND, START + 5 * SECOND) == (2700, 6700)
    assert entitled_range(file, START, START + 100 * SECOND) == (700, file.size)


def test_an_interval_elsewhere_entitles_to_nothing():
    file = _file(_parts(10))
    assert entitled_range(file, START + 10 * SECOND, START + 11 * SECOND) == (0, 0)
    assert entitled_range(file, START - SECOND, START) == (0, 0)
