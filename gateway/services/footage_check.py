"""Do disk and index of a volume agree? Checks the numbered invariants of recording.md.

Levels cost more and find more: ``presence`` looks at rows and file names, ``size`` also at
lengths, ``hash`` reads every octet and recomputes the chain.
"""

import hashlib
from collections.abc import Iterator
from typing import Literal

from contracts.errors import InvalidInput
from gateway.core.footage_audit import AuditedFile, AuditedGap, AuditedPart, Finding
from gateway.core.parts import CHAIN_GENESIS, ChainLink, chain, unpack_frames
from gateway.ports import FootageAudit

CheckLevel = Literal["presence", "size", "hash"]


def check_footage(audit: FootageAudit, *, level: CheckLevel = "size") -> list[Finding]:
    """Check one volume; an empty list says that every invariant of the level holds."""
    findings = [
        Finding(invariant="R0", where="footage.sqlite", what=line) for line in audit.damage()
    ]
    for file in audit.files():
        findings += _check_file(audit, file, level)
    findings += [
        Finding(invariant="R1", where=name, what="文件在盘上，但索引没有登记")
        for name in audit.strays()
    ]
    findings += _check_chain(audit, with_links=level == "hash")
    findings += _check_account(audit)
    findings += _check_spans(audit)
    return findings


def _check_file(audit: FootageAudit, file: AuditedFile, level: CheckLevel) -> Iterator[Finding]:
    parts = audit.parts(file.file_id)
    if file.size_on_disk is None:
        if parts or (file.state == "sealed" and file.size):
            yield _finding("R2", file, f"文件不在盘上，索引登记了 {len(parts)} 段")
        return
    if level == "presence" or not parts:
        return
    yield from _check_size(file, parts)
    if level == "hash":
        yield from _check_octets(audit, file, parts)


def _check_size(file: AuditedFile, parts: list[AuditedPart]) -> Iterator[Finding]:
    end = len(file.init)
    for part in parts:
        if part.offset != end:
            yield _finding("R3", file, f"第 {part.sequence} 段应始于 {end}，索引记 {part.offset}")
        end = part.offset + part.length
        try:
            samples = unpack_frames(part.frames, part.frame_count)
        except InvalidInput as exc:
            yield _finding("R6", file, f"第 {part.sequence} 段: {exc}")
            continue
        if sum(sample.duration for sample in samples) != part.media_ticks:
            yield _finding("R6", file, f"第 {part.sequence} 段: 各帧时长之和不等于段长")
    if file.size_on_disk is not None and file.size_on_disk < end:
        yield _finding("R3", file, f"盘上 {file.size_on_disk} 字节，索引登记到 {end}")
    if file.state == "sealed" and file.size != end:
        yield _finding("R3", file, f"封存长度 {file.size}，各段止于 {end}")
    if file.state == "sealed" and file.size_on_disk != end + file.torn_bytes:
        yield _finding(
            "R3", file, f"盘上 {file.size_on_disk} 字节，应为 {end} 加残尾 {file.torn_bytes}"
        )


def _check_octets(
    audit: FootageAudit, file: AuditedFile, parts: list[AuditedPart]
) -> Iterator[Finding]:
    if audit.read(file, 0, len(file.init)) != file.init:
        yield _finding("R4", file, "文件头与登记的不同")
    for part in parts:
        octets = audit.read(file, part.offset, part.length)
        if hashlib.sha256(octets).digest() != part.sha256:
            yield _finding("R4", file, f"第 {part.sequence} 段的内容与其 SHA-256 不符")


def _check_chain(audit: FootageAudit, *, with_links: bool) -> Iterator[Finding]:
    before: AuditedPart | None = None
    for part in audit.chain():
        is_first = before is None or (before.stream, before.track) != (part.stream, part.track)
        sequence = 0 if is_first or before is None else before.sequence
        value = CHAIN_GENESIS if is_first or before is None else before.chain
        where = f"{part.stream}/{part.track}"
        if part.sequence != sequence + 1:
            what = f"第 {sequence} 段之后是第 {part.sequence} 段"
            yield Finding(invariant="R5", where=where, what=what)
        elif with_links and part.chain != chain(value, part.sha256, _link(part)):
            what = f"第 {part.sequence} 段与前一段的链值不符"
            yield Finding(invariant="R5", where=where, what=what)
        before = part


def _link(part: AuditedPart) -> ChainLink:
    return ChainLink(
        stream=part.stream,
        track=part.track,
        sequence=part.sequence,
        start_ns=part.start_ns,
        end_ns=part.end_ns,
        media_start=part.media_start,
        init_sha256=part.init_sha256,
    )


def _check_account(audit: FootageAudit) -> Iterator[Finding]:
    """From the first expectation on, every instant is recorded or has a gap row."""
    rows = sorted(
        [*audit.spans(), *audit.gaps()],
        key=lambda row: (row.stream, row.track, row.from_ns),
    )
    before: AuditedGap | None = None
    reached: int | None = None
    for row in rows:
        if before is None or (before.stream, before.track) != (row.stream, row.track):
            reached = row.from_ns
        if reached is not None:
            if row.from_ns > reached:
                yield Finding(
                    invariant="R7",
                    where=f"{row.stream}/{row.track}",
                    what=f"{reached} 至 {row.from_ns}（纳秒）既无录像也无缺口记录",
                )
            reached = None if row.to_ns is None else max(reached, row.to_ns)
        before = row


def _check_spans(audit: FootageAudit) -> Iterator[Finding]:
    """What readers are told is recorded is what the parts say."""
    differing = set(audit.spans()) ^ set(audit.listed_spans())
    for span in sorted(differing, key=lambda span: (span.stream, span.track, span.from_ns)):
        yield Finding(
            invariant="R8",
            where=f"{span.stream}/{span.track}",
            what=f"{span.from_ns} 至 {span.to_ns}（纳秒）：时段表与各段不一致",
        )


def _finding(invariant: str, file: AuditedFile, what: str) -> Finding:
    return Finding(invariant=invariant, where=file.name, what=what)
