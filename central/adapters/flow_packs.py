"""Reads flow packs from YAML; every mistake names line and field, in Chinese."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator, ValidationError

from central.domain import flow_pack as fp
from contracts.errors import InvalidInput

_MOST_BYTES = 512 * 1024
_MOST_FAULTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFault:
    """A mistake: line (from 1), dotted field, and what to do."""

    line: int
    field: str
    text: str

    def __str__(self) -> str:
        return f"第 {self.line} 行 {self.field or '（全文）'}：{self.text}"


class BadPack(InvalidInput):
    """A flow pack with mistakes; `faults` holds each."""

    def __init__(self, name: str, faults: list[PackFault]) -> None:
        lines = "\n".join(f"{name} {fault}" for fault in faults)
        super().__init__(lines)
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPack:
    """A sound pack and the text it was read from, which is what gets stored."""

    pack: fp.FlowPack
    source: str


def shipped() -> list[ReadPack]:
    """The packs that come with central."""
    folder = files("central.packs")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    return [parse(folder.joinpath(name).read_text("utf-8"), name=name) for name in names]


def read_file(path: Path) -> ReadPack:
    """Read a pack from a file.

    Raises:
        InvalidInput: the file cannot be read, or `BadPack` with every mistake.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"读不到 UTF-8 文件 {path}：{exc}", field="file") from exc
    return parse(text, name=path.name)


def parse(text: str, *, name: str = "pack") -> ReadPack:
    """Check and read a pack.

    Raises:
        BadPack: with every mistake found.
    """
    if len(text) > _MOST_BYTES:
        raise BadPack(name, [PackFault(line=1, field="", text="文件过大")])
    content, lines = _load(text, name)
    wrong = [
        PackFault(line=_line(lines, path), field=dotted(path), text=message)
        for path, message in _schema_faults(content)
    ]
    if wrong:
        raise BadPack(name, sorted(wrong, key=lambda fault: fault.line)[:_MOST_FAULTS])
    pack = _build(cast("Mapping[str, Any]", content))
    wrong = [
        PackFault(line=_line(lines, fault.path), field=dotted(fault.path), text=fault.text)
        for fault in fp.faults(pack)
    ]
    if wrong:
        raise BadPack(name, wrong[:_MOST_FAULTS])
    return ReadPack(pack=pack, source=text)


def dotted(path: fp.Path) -> str:
    """A path as people write it: ``steps[2].limit.days``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


# --- YAML with lines -------------------------------------------------------------------------


def _load(text: str, name: str) -> tuple[Any, dict[fp.Path, int]]:
    lines: dict[fp.Path, int] = {}
    doubles: list[PackFault] = []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _note_lines(node, (), lines, doubles)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        line = mark.line + 1 if mark is not None else 1
        fault = PackFault(line=line, field="", text=f"不是合法的 YAML：{exc.problem}")
        raise BadPack(name, [fault]) from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise BadPack(name, [PackFault(line=1, field="", text=f"不是合法的 YAML：{exc}")]) from exc
    if doubles:
        raise BadPack(name, doubles[:_MOST_FAULTS])
    return content, lines


def _note_lines(
    node: yaml.Node, path: fp.Path, lines: dict[fp.Path, int], doubles: list[PackFault]
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            below = (*path, name)
            line = key.start_mark.line + 1
            if name in seen:
                doubles.append(PackFault(line=line, field=dotted(below), text="此项重复"))
            seen.add(name)
            lines[below] = line
            _note_lines(value, below, lines, doubles)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines, doubles)


def _line(lines: Mapping[fp.Path, int], path: fp.Path) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


# --- schema ----------------------------------------------------------------------------------


def _schema_faults(content: Any) -> Iterator[tuple[fp.Path, str]]:
    schema = json.loads(files("central.packs").joinpath("schema.json").read_text("utf-8"))
    for error in Draft202012Validator(schema).iter_errors(content):
        path: fp.Path = tuple(error.absolute_path)
        if error.validator == "required" and isinstance(error.validator_value, list):
            for key in error.validator_value:
                if key not in error.instance:
                    yield (*path, key), "缺少此项"
        elif error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            for key in error.instance:
                if key not in known:
                    yield (*path, str(key)), f"没有这一项，可用：{'、'.join(known)}"
        else:
            yield path, _explain(error)


_TYPES = {
    "object": "一组键值",
    "array": "列表",
    "string": "文本",
    "integer": "整数",
    "boolean": "true 或 false",
}


def _explain(error: ValidationError) -> str:
    rule, value = str(error.validator), error.validator_value
    given = json.dumps(error.instance, ensure_ascii=False, default=str)[:60]
    texts: dict[str, Callable[[], str]] = {
        "type": lambda: f"应为{_TYPES.get(str(value), str(value))}，现为 {given}",
        "enum": lambda: (
            f"{given} 不在允许的取值之内：{'、'.join(map(str, cast('list[Any]', value)))}"
        ),
        "minimum": lambda: f"{given} 太小，至少 {value}",
        "maximum": lambda: f"{given} 太大，至多 {value}",
        "minLength": lambda: "不能为空",
        "maxLength": lambda: f"太长，至多 {value} 个字符",
        "minItems": lambda: f"至少 {value} 项",
        "maxItems": lambda: f"至多 {value} 项",
        "uniqueItems": lambda: "有重复的项",
        "pattern": lambda: f"{given} 的写法不对，应符合 {value}",
    }
    return texts[rule]() if rule in texts else error.message


# --- values ----------------------------------------------------------------------------------


def _build(raw: Mapping[str, Any]) -> fp.FlowPack:
    more = {"suspension_basis": raw["suspension_basis"]} if "suspension_basis" in raw else {}
    return fp.FlowPack(
        code=raw["code"],
        name=raw["name"],
        version=raw["version"],
        unit=raw["unit"],
        number_prefix=raw["number_prefix"],
        legal_basis=tuple(raw["legal_basis"]),
        materials=tuple(fp.Material(**item) for item in raw.get("materials", ())),
        limits=tuple(fp.Limit(**item) for item in raw.get("limits", ())),
        steps=tuple(_step(item) for item in raw["steps"]),
        **more,
    )


def _step(raw: Mapping[str, Any]) -> fp.Step:
    plain = {
        key: raw[key]
        for key in (
            "code",
            "name",
            "role",
            "legal_basis",
            "order_basis",
            "begins_state",
            "done_state",
        )
        if key in raw
    }
    outcomes = raw.get("outcomes")
    staff = raw.get("staff")
    not_by = raw.get("not_by")
    return fp.Step(
        **plain,
        places=tuple(raw["places"]),
        materials=tuple(raw.get("materials", ())),
        makes=tuple(raw.get("makes", ())),
        form=tuple(_field(item) for item in raw.get("form", ())),
        limit=fp.StepLimit(**raw["limit"]) if "limit" in raw else None,
        staff=fp.Staff(fields=tuple(staff["fields"]), article=staff["article"]) if staff else None,
        not_by=fp.NotBy(steps=tuple(not_by["steps"]), article=not_by["article"])
        if not_by
        else None,
        outcome_field=outcomes["field"] if outcomes else None,
        outcomes=tuple(fp.Outcome(**item) for item in outcomes["when"]) if outcomes else (),
    )


def _field(raw: Mapping[str, Any]) -> fp.FormField:
    return fp.FormField(**{**raw, "choices": tuple(raw.get("choices", ()))})


class PackShelf:
    """Packs by code and version; see `central.ports.Packs`."""

    def __init__(self, packs: Iterable[fp.FlowPack] = ()) -> None:
        self._packs: dict[tuple[str, str], fp.FlowPack] = {}
        self._newest: dict[str, str] = {}
        for pack in packs:
            self.offer(pack)

    def offer(self, pack: fp.FlowPack) -> None:
        """Open new cases of the item under this pack from now on."""
        self.keep(pack)
        self._newest[pack.code] = pack.version

    def keep(self, pack: fp.FlowPack) -> None:
        """Keep a version for the cases that were opened under it."""
        self._packs[pack.code, pack.version] = pack

    def newest(self) -> list[fp.FlowPack]:
        """The version of each item under which new cases are opened."""
        return [self._packs[code, version] for code, version in sorted(self._newest.items())]

    def get(self, code: str, version: str | None = None) -> fp.FlowPack | None:
        """A pack; without a version the newest."""
        wanted = self._newest.get(code) if version is None else version
        return None if wanted is None else self._packs.get((code, wanted))
