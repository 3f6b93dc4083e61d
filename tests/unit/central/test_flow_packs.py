"""Flow packs: what ships is sound, and each mistake names line, field and remedy."""

from importlib.resources import files
from pathlib import Path

import pytest

from central.__main__ import main
from central.adapters.flow_packs import BadPack, PackShelf, parse, shipped

SOURCE = files("central.packs").joinpath("administrative-approval.yaml").read_text("utf-8")


def test_the_shipped_pack_is_the_administrative_approval() -> None:
    """Seven steps in the order of the law, each with role, basis and limit in working days."""
    (read,) = shipped()
    assert [step.name for step in read.pack.steps] == [
        "收件",
        "受理",
        "现场核查",
        "审核",
        "批准",
        "制证",
        "送达",
    ]
    for step in read.pack.steps:
        assert step.legal_basis
        assert step.limit is not None
        assert step.limit.unit == "working_day"
    limits = {limit.code: limit.days for limit in read.pack.limits}
    assert limits == {"statutory": 20, "promised": 12, "delivery": 10}


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("role: clerk\n", "role: king\n", "steps[0].role", "不在允许的取值之内：clerk、unit_head"),
        ("    name: 收件\n", "", "steps[0].name", "缺少此项"),
        ("    days: 20\n", "    days: 0\n", "limits[0].days", "太小，至少 1"),
        ("    days: 20\n", "    days: 二十\n", "limits[0].days", "应为整数"),
        (
            "    starts: accept\n",
            "    starts: accepted\n",
            "limits[0].starts",
            "没有环节「accepted」",
        ),
        ("    ends: approve\n", "    ends: receive\n", "limits[0].ends", "应在起于的环节之后"),
        ("    days: 12\n", "    days: 21\n", "limits[1].days", "超过法定期限 20 天"),
        ("  - code: accept\n", "  - code: receive\n", "steps[1].code", "代码「receive」重复"),
        (
            "materials: [application]",
            "materials: [aplication]",
            "steps[0].materials[0]",
            "没有材料",
        ),
        (
            "fields: [inspector_1, inspector_2]",
            "fields: [inspector_1, finding]",
            "steps[2].staff.fields[1]",
            "不是本环节的人员",
        ),
        ("steps: [accept, site-check]", "steps: [approve]", "steps[3].not_by.steps[0]", "不是更早"),
        ("field: opinion", "field: reason", "steps[3].outcomes.field", "不是本环节的选择"),
        (
            "{choice: 受理, state",
            "{choice: 收下, state",
            "steps[1].outcomes.when[0].choice",
            "不在选项之内",
        ),
        ("goto: site-check", "goto: site", "steps[3].outcomes.when[1].goto", "没有环节「site」"),
        ("order_basis:", "order_bassis:", "steps[1].order_bassis", "没有这一项"),
        ("kind: text, help: 与营业执照一致", "kind: choice", "steps[0].form[1].choices", "选项"),
        ("number_prefix: SP", "number_prefix: sp", "number_prefix", "写法不对"),
        ("unit: 行政审批局\n", "unit: 行政审批局\nunit: 另一个\n", "unit", "此项重复"),
    ],
)
def test_a_mistake_names_line_and_field(old: str, new: str, field: str, words: str) -> None:
    """Change one thing in the shipped pack; the fault stands on that line."""
    assert old in SOURCE
    text = SOURCE.replace(old, new, 1)
    changed = SOURCE[: SOURCE.index(old)].count("\n") + 1
    with pytest.raises(BadPack) as wrong:
        parse(text)
    fault = next(fault for fault in wrong.value.faults if fault.field == field)
    assert words in fault.text
    # A missing key has no line: then that of its object. Of two equal keys the second is wrong.
    moved = {"缺少此项": -1, "此项重复": 1}.get(words, 0)
    assert fault.line == changed + moved


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "- 1", "code: !!python/object:os.system x", "a: &a [*a]", "\t"]
)
def test_what_is_no_pack_is_refused(text: str) -> None:
    """Never another error than `BadPack`."""
    with pytest.raises(BadPack):
        parse(text)


def test_the_command_line_checks_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``packs check``: 0 for a sound file; 2 and line with field for a wrong one."""
    path = tmp_path / "pack.yaml"
    path.write_text(SOURCE, "utf-8")
    assert main(["packs", "check", str(path)]) == 0
    assert "7 个环节" in capsys.readouterr().out
    path.write_text(SOURCE.replace("days: 20", "days: 0"), "utf-8")
    assert main(["packs", "check", str(path)]) == 2
    assert "limits[0].days" in capsys.readouterr().err
    assert main(["packs", "check", str(tmp_path / "none.yaml")]) == 2


def test_cases_keep_their_version() -> None:
    """A new version is for new cases; the old one stays for those opened under it."""
    old = parse(SOURCE).pack
    new = parse(SOURCE.replace('version: "2026.1"', 'version: "2026.2"')).pack
    shelf = PackShelf([old])
    shelf.offer(new)
    assert shelf.get(old.code) == new
    assert shelf.get(old.code, "2026.1") == old
    assert shelf.newest() == [new]
    assert shelf.get("nothing") is None
