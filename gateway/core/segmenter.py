"""One track of one stream: where a part ends and the next begins, and which file it belongs to.

Theory of operation. Access units come in; store items come out, in the order in which they must
reach the disk. Nothing here waits or reads a clock.

* A *run* is one unbroken session of the source. Its ticks begin with the time of day (in China) of
  its first key frame: a player that opens a single file shows about the time on the wall, and
  players that cannot follow times back at a discontinuity meet none within a day.
* The duration of a frame is known when the next one comes. So one frame is always pending; a part
  is closed by the frame that follows it, by `relieve` (everything but the pending frame) or by
  `interrupt` (everything; the last frame then gets the usual duration).
* The first moments of a session are held (`settle_ns`) to learn how late its frames are: a camera
  that begins with a burst of old frames must not make the whole run seconds late.
* Frames are never dropped once a run has begun; before its first key frame nothing can be decoded
  and nothing is kept.
"""

from dataclasses import dataclass

from contracts.errors import InvalidInput
from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.timestamps import NS, NS_PER_MS, WallTime, ns_to_ticks, ticks_to_ns
from gateway.core.fmp4 import Sample, init_segment, part_header
from gateway.core.hls import LONGEST_HOLE_INSIDE_NS
from gateway.core.parts import FileBegins, FileEnd, FileEnds, Interrupted, Part, StoreItem
from gateway.core.wall_anchor import STEP_NS, WallAnchor

_USUAL_VIDEO_NS = 40_000_000
_USUAL_AUDIO_NS = 20_000_000
_OLDEST_BURST_NS = 30 * NS
_LONGEST_WAIT_NS = 10 * NS
_TOLD = -1
_DAY_NS = 24 * 3600 * NS
_CHINA_NS = 8 * 3600 * NS


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterOptions:
    """Sizes of parts and files.

    Attributes:
        part_ns: a part is closed when it is this long. A third of the usual group of pictures of
            two seconds: with one pending frame and a write that waits behind a sync, less than a
            second is at risk. (At 0.9 s such a group would also need three parts.)
        part_bytes: or when it is this big, whatever its length.
        file_ns: a file is ended by the first key frame after this.
        settle_ns: how long the first frames of a session are held; part of the second at risk.
    """

    part_ns: int = 670_000_000
    part_bytes: int = 8_000_000
    file_ns: int = 60 * NS
    settle_ns: int = 400_000_000


class Segmenter:
    """Turns the access units of one track into parts and files.

    Attributes:
        skipped: units that came before the first key frame of a session and were not kept.
    """

    def __init__(self, options: SegmenterOptions | None = None) -> None:
        self._options = options or SegmenterOptions()
        self._session = ""
        self._config: CodecConfig | None = None
        self._refused: CodecConfig | None = None
        self._held: list[AccessUnit] | None = None
        self._skipping_since: int | None = None
        self._wall: WallAnchor | None = None
        self._shift = 0
        self._usual = 0
        self._end_ticks = 0
        self._end_wall: WallTime | None = None
        self._file_first = 0
        self._last_key = 0
        self._sequence = 0
        self._restart_origin: int | None = None
        self._samples: list[Sample] = []
        self._payloads: list[bytes] = []
        self._part_bytes = 0
        self._first_ticks = 0
        self._first_wall = WallTime(0)
        self._offset_ms: int | None = None
        self._last_ticks: int | None = None
        self._last_sample = Sample(0, 0, key=False)
        self.skipped = 0

    def begin_session(self, session: str) -> list[StoreItem]:
        """The source starts anew: close what is open; the next key frame begins a run."""
        items = self.finish("session_ended")
        self._session = session
        self._refused = None
        self._skipping_since = None
        return items

    def finish(self, reason: FileEnd) -> list[StoreItem]:
        """Close the open part and the file."""
        items = self.interrupt()
        if self._config is not None:
            items.append(FileEnds(reason=reason))
        self._config = None
        self._wall = None
        return items

    def push(self, unit: AccessUnit) -> list[StoreItem]:
        """Take the next unit; gives what is complete because of it."""
        config = unit.config
        if config is not self._config and not self._is_recordable(config):
            return self._refuse(unit)
        if self._held is not None:
            self._held.append(unit)
            waited = unit.arrived_at - self._held[0].arrived_at
            return self._settle() if waited >= self._options.settle_ns else []
        if self._config is not None and config.rate != self._config.rate:
            return [*self.finish("config_changed"), *self.push(unit)]
        if self._wall is not None:
            return self._place(unit)
        if not unit.key:
            return self._skip(unit)
        self._skipping_since = None
        self._held = [unit]
        return [] if self._options.settle_ns else self._settle()

    def relieve(self) -> list[StoreItem]:
        """The next frame is late: give out all but the pending one."""
        items = self._settle() if self._held is not None else []
        if self._samples and self._last_ticks is not None:
            payload = self._payloads.pop()
            items.append(self._close(self._last_ticks))
            self._payloads.append(payload)
            self._part_bytes = len(payload)
        return items

    def interrupt(self) -> list[StoreItem]:
        """No next frame is expected: give out everything. The next unit may be much later."""
        items = self._settle() if self._held is not None else []
        if self._last_ticks is not None:
            end = self._last_ticks + self._usual
            self._complete(end)
            items.append(self._close(end))
            self._last_ticks = None
        return items

    @property
    def is_open(self) -> bool:
        """Something is held that a crash would lose."""
        return self._held is not None or self._last_ticks is not None

    # -- sessions, runs and files -------------------------------------------------------------

    def _is_recordable(self, config: CodecConfig) -> bool:
        if config is self._refused or config == self._config:
            return config is not self._refused
        try:
            init_segment(config)
        except InvalidInput:
            return False
        return True

    def _refuse(self, unit: AccessUnit) -> list[StoreItem]:
        if unit.config == self._refused:
            return []
        self._refused = unit.config
        items = self.finish("config_changed")
        detail = f"{unit.config.codec}: 无法录制此编码，请在摄像机上改用 H.264"
        items.append(_useless(unit, detail))
        return items

    def _skip(self, unit: AccessUnit) -> list[StoreItem]:
        """Nothing can be decoded before a key frame; say so once when none comes."""
        self.skipped += 1
        if self._skipping_since is None:
            self._skipping_since = unit.arrived_at
        waited = unit.arrived_at - self._skipping_since
        if waited < _LONGEST_WAIT_NS or self._skipping_since < 0:
            return []
        self._skipping_since = _TOLD
        seconds = _LONGEST_WAIT_NS // NS
        return [_useless(unit, f"{seconds} 秒以上没有关键帧，请在摄像机上把关键帧间隔设为 2 秒")]

    def _settle(self) -> list[StoreItem]:
        units, self._held = self._held or [], None
        first = units[0]
        rate = first.config.rate
        origins = [
            unit.arrived_at - ticks_to_ns(unit.media_time - first.media_time, rate)
            for unit in units
            if unit.media_time >= first.media_time
        ]
        believable = first.arrived_at - _OLDEST_BURST_NS
        anchor = min(origin for origin in origins if origin >= believable)
        usual = _USUAL_VIDEO_NS if first.config.track == "video" else _USUAL_AUDIO_NS
        self._usual = ns_to_ticks(usual, rate)
        items: list[StoreItem] = [self._begin_run(first, anchor, step_ns=0)]
        for unit in units:
            items += self._place(unit)
        return items

    def _begin_run(self, unit: AccessUnit, start_ns: int, *, step_ns: int) -> StoreItem:
        """Begin a run with this unit, which was captured at `start_ns`."""
        rate = unit.config.rate
        first = ns_to_ticks((start_ns + _CHINA_NS) % _DAY_NS, rate)
        self._wall = WallAnchor(rate, start_ns - ticks_to_ns(first, rate))
        self._shift = unit.media_time - first
        self._end_ticks = self._last_key = first
        self._end_wall = None
        self._restart_origin = None
        return self._begin_file(unit.config, first, is_new_run=True, step_ns=step_ns)

    def _begin_file(
        self, config: CodecConfig, ticks: int, *, is_new_run: bool, step_ns: int = 0
    ) -> StoreItem:
        self._config = config
        self._file_first = ticks
        self._sequence = 0
        return FileBegins(
            config=config,
            init=init_segment(config),
            session=self._session,
            is_new_run=is_new_run,
            start_ns=self._anchored.at(ticks),
            step_ns=step_ns,
        )

    @property
    def _anchored(self) -> WallAnchor:
        if self._wall is None:
            raise AssertionError("a run has begun")
        return self._wall

    # -- frames -------------------------------------------------------------------------------

    def _place(self, unit: AccessUnit) -> list[StoreItem]:
        wall = self._anchored
        ticks = unit.media_time - self._shift
        late = unit.arrived_at - wall.at(ticks)
        last = self._last_ticks
        if last is None:
            ticks = self._resume(unit, ticks, late)
            wall.observe(ticks, unit.arrived_at)
            return self._start_part(unit, ticks)
        step = ticks - last
        composition = 0
        if self._jumps(step, late):
            ticks = last + self._usual
            self._shift = unit.media_time - ticks
        elif step <= 0:
            composition = step - 1
            ticks = last + 1
        elif unit.lost_before:
            if 2 * step > 3 * self._usual:
                return self._after_loss(unit, ticks)
        else:
            self._usual = step
        self._note_step(wall.observe(ticks, unit.arrived_at))
        self._complete(ticks)
        if self._ends_part(unit, ticks):
            return [self._close(ticks), *self._start_part(unit, ticks)]
        self._append(unit, ticks, composition)
        return []

    def _resume(self, unit: AccessUnit, ticks: int, late: int) -> int:
        """The first frame after a pause: believe media time only if the clock agrees."""
        if self._end_wall is None:
            return ticks
        if abs(late) > STEP_NS:
            ticks = self._anchored.ticks_at(unit.arrived_at)
        ticks = max(ticks, self._end_ticks)
        self._shift = unit.media_time - ticks
        return ticks

    def _jumps(self, step: int, late: int) -> bool:
        """Media time leapt: far ahead of the clock, or back by more than reordering explains."""
        rate = self._anchored.rate
        return step < -rate or (step - self._usual > rate and late < -STEP_NS)

    def _after_loss(self, unit: AccessUnit, ticks: int) -> list[StoreItem]:
        """Frames are missing before this one: say so instead of counting them as recorded.

        In the file the last frame stands still through a short hole: browsers throw away what
        follows a jump of decoding times, up to the next key frame. The rows tell the truth.
        """
        last = ticks if self._last_ticks is None else self._last_ticks
        end = last + self._usual
        is_short = ticks_to_ns(ticks - end, self._anchored.rate) <= LONGEST_HOLE_INSIDE_NS
        file_end = ticks if is_short else end
        self._complete(file_end)
        part = self._close(file_end, recorded_to=end)
        detail = f"丢失 {unit.lost_before} 个数据包"
        gap = Interrupted(at=unit.arrived_at, cause="packet_loss", detail=detail)
        self._anchored.observe(ticks, unit.arrived_at)
        return [part, gap, *self._start_part(unit, ticks)]

    def _note_step(self, late: int) -> None:
        """Notice that our own clock was stepped; the next key frame begins a new run."""
        origin = late + self._anchored.anchor_ns
        if self._restart_origin is not None:
            self._restart_origin = min(self._restart_origin, origin)
        elif late < -STEP_NS or self._anchored.is_late_throughout:
            self._restart_origin = origin

    def _ends_part(self, unit: AccessUnit, ticks: int) -> bool:
        rate = self._anchored.rate
        length = ticks - self._first_ticks
        most = self._options.part_ns * rate // NS
        if length >= most or self._part_bytes >= self._options.part_bytes:
            return True
        if not unit.key:
            return False
        if self._file_is_done(unit, ticks):
            return True
        # Groups of pictures shorter than a part share one, as long as each part begins with a key.
        return not self._samples[0].key or length + ticks - self._last_key > most

    def _file_is_done(self, unit: AccessUnit, ticks: int) -> bool:
        is_long = ticks_to_ns(ticks - self._file_first, self._anchored.rate) >= (
            self._options.file_ns
        )
        return is_long or self._restart_origin is not None or unit.config != self._config

    def _start_part(self, unit: AccessUnit, ticks: int) -> list[StoreItem]:
        items: list[StoreItem] = []
        if unit.key and ticks > self._file_first and self._file_is_done(unit, ticks):
            items, ticks = self._next_file(unit, ticks)
        self._first_ticks = ticks
        if ticks == self._end_ticks and self._end_wall is not None:
            self._first_wall = self._end_wall
        else:
            self._first_wall = self._anchored.at(ticks)
        self._offset_ms = None
        if unit.captured_at is not None:
            self._offset_ms = (unit.captured_at - self._first_wall) // NS_PER_MS
        self._append(unit, ticks, 0)
        return items

    def _next_file(self, unit: AccessUnit, ticks: int) -> tuple[list[StoreItem], int]:
        if self._restart_origin is not None:
            start = self._restart_origin + ticks_to_ns(ticks, self._anchored.rate)
            step_ns = start - self._anchored.at(ticks)
            ends = FileEnds(reason="clock_stepped")
            begins = self._begin_run(unit, start, step_ns=step_ns)
            return [ends, begins], self._file_first
        reason: FileEnd = "rotated" if unit.config == self._config else "config_changed"
        begins = self._begin_file(unit.config, ticks, is_new_run=False)
        return [FileEnds(reason=reason), begins], ticks

    def _append(self, unit: AccessUnit, ticks: int, composition: int) -> None:
        if unit.key:
            self._last_key = ticks
        self._last_ticks = ticks
        self._last_sample = Sample(0, len(unit.payload), unit.key, composition)
        self._payloads.append(unit.payload)
        self._part_bytes += len(unit.payload)

    def _complete(self, end_ticks: int) -> None:
        """The pending frame lasts until here."""
        if self._last_ticks is None:
            raise AssertionError("a frame is pending")
        last = self._last_sample
        self._samples.append(
            Sample(end_ticks - self._last_ticks, last.size, last.key, last.composition)
        )

    def _close(self, end_ticks: int, *, recorded_to: int | None = None) -> Part:
        """Make a part of the completed samples, which end here in the file.

        They are counted as recorded up to `recorded_to`, if the last one only fills a hole.
        """
        recorded_to = end_ticks if recorded_to is None else recorded_to
        wall = self._anchored
        length = end_ticks - self._first_ticks
        start = self._first_wall
        wall.slew(length)
        end = WallTime(max(wall.at(recorded_to), start))
        self._sequence += 1
        part = Part(
            start_ns=start,
            end_ns=end,
            media_start=self._first_ticks,
            media_ticks=length,
            is_key=self._samples[0].key,
            header=part_header(
                self._samples,
                sequence=self._sequence,
                decode_time=self._first_ticks,
                wall_ns=start,
            ),
            payloads=tuple(self._payloads),
            samples=tuple(self._samples),
            clock_offset_ms=self._offset_ms,
        )
        self._samples = []
        self._payloads = []
        self._part_bytes = 0
        self._first_ticks = end_ticks
        self._first_wall = self._end_wall = end
        self._end_ticks = recorded_to
        return part


def _useless(unit: AccessUnit, detail: str) -> Interrupted:
    """Something comes, but nothing that can be recorded."""
    return Interrupted(at=unit.arrived_at, cause="no_media", detail=detail, supersedes=True)
