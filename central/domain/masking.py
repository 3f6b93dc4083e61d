"""Masking of applicants' names on pages."""

_ORGANISATION_ENDS = ("公司", "厂", "店", "中心", "合作社", "学校", "医院", "部", "馆", "社", "所")
_MASK = "*"
_SHORT = 4


def mask_name(name: str) -> str:
    """Hide a person's given name, or the middle of an organisation's.

    ``王小明`` → ``王**``; ``示范区好味道餐饮有限公司`` → ``示范******有限公司``.
    """
    name = name.strip()
    if len(name) > _SHORT or name.endswith(_ORGANISATION_ENDS):
        tail = 4 if len(name) > 2 * _SHORT else 1
        head = 2 if len(name) > _SHORT else 1
        return name[:head] + _MASK * max(1, len(name) - head - tail) + name[-tail:]
    return name[:1] + _MASK * max(1, len(name) - 1)
