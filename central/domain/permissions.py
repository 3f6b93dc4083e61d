"""Who may do what: one table of role and action. What is not in the table is forbidden."""

from typing import Literal

Role = Literal["administrator", "clerk", "unit_head", "inspector", "operator", "installer"]
Page = Literal["counter", "monitor", "cases", "devices", "register"]
Action = Literal[
    "self.use",
    "items.read",
    "places.read",
    "persons.read",
    "devices.read",
    "live.follow",
    "live.view",
    "live.view_all",
    "cases.read",
    "cases.open",
    "cases.run",
    "clocks.suspend",
    "timeline.read",
    "retrievals.open",
    "register.read",
]

_EVERYBODY: frozenset[Action] = frozenset({"self.use", "items.read", "places.read", "live.follow"})
_CASE_WORK: frozenset[Action] = frozenset(
    {"cases.read", "cases.run", "clocks.suspend", "persons.read", "live.view", "devices.read"}
)

RIGHTS: dict[Role, frozenset[Action]] = {
    # Footage is nobody's by default: live pictures of one's own counter for who works there, all
    # live pictures for operator and inspector, recorded ones for the inspector alone and reasoned
    # (公共安全视频图像信息系统管理条例第十六条).
    "administrator": _EVERYBODY | {"devices.read", "persons.read", "register.read"},
    "clerk": _EVERYBODY | _CASE_WORK | {"cases.open"},
    "unit_head": _EVERYBODY | _CASE_WORK | {"timeline.read"},
    "inspector": _EVERYBODY
    | {
        "cases.read",
        "persons.read",
        "devices.read",
        "timeline.read",
        "retrievals.open",
        "register.read",
        "live.view",
        "live.view_all",
    },
    "operator": _EVERYBODY | {"devices.read", "live.view", "live.view_all"},
    "installer": _EVERYBODY | {"devices.read"},
}

PAGES: dict[Role, tuple[Page, ...]] = {
    "administrator": ("devices", "register"),
    "clerk": ("counter", "devices"),
    "unit_head": ("counter", "cases", "devices"),
    "inspector": ("cases", "monitor", "devices", "register"),
    "operator": ("monitor", "devices"),
    "installer": ("devices",),
}

ROLE_NAMES: dict[Role, str] = {
    "administrator": "管理员",
    "clerk": "窗口人员",
    "unit_head": "科室负责人",
    "inspector": "监察员",
    "operator": "值机员",
    "installer": "安装员",
}


def may(role: Role, action: Action) -> bool:
    """Whether the role holds the right."""
    return action in RIGHTS[role]


def may_watch(role: Role, *, place: str | None, own_places: frozenset[str]) -> bool:
    """Whether the role may see the live picture of a place; who works there, only it."""
    if may(role, "live.view_all"):
        return True
    return may(role, "live.view") and place is not None and place in own_places
