"""The guards' words: what is missing, which article asks for it, what to do."""

from datetime import date

from central.domain.flow_pack import FormField, Material, Step
from central.domain.permissions import ROLE_NAMES
from central.domain.refusals import Guard, Text

CONTENT_CODES = frozenset(
    {
        "unknown_field",
        "field_missing",
        "not_a_choice",
        "not_a_person",
        "not_a_date",
        "staff_not_distinct",
        "material_missing",
        "material_doubtful",
        "wrong_place",
    }
)
PERMISSION_CODES = frozenset({"wrong_role", "no_person", "same_person"})


def _guard(code: str, zh: str, en: str, **more: str) -> Guard:
    return Guard(code=code, text=Text(zh=zh, en=en), **more)


def is_date(value: str) -> bool:
    """Whether the text is ``YYYY-MM-DD``."""
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def unknown_step(seq: int) -> Guard:
    """There is no such step."""
    return _guard("unknown_step", f"本事项没有第 {seq} 个环节", f"There is no step {seq}")


def case_ended() -> Guard:
    """Nothing can be done to a case that has ended."""
    return _guard("case_ended", "办件已结束", "The case has ended")


def wrong_role(step: Step) -> Guard:
    """Another role does this step."""
    role = ROLE_NAMES[step.role]
    return _guard(
        "wrong_role",
        f"「{step.name}」由{role}办理",
        f"Step {step.code} is done by the role {step.role}",
        article=step.legal_basis,
        action=f"由{role}登录办理",
    )


def no_person() -> Guard:
    """The account is not tied to a person."""
    return _guard(
        "no_person",
        "此账号没有对应的人员，不能办理环节",
        "This account is not tied to a person and cannot run steps",
        action="请管理员在站点登记中对应人员",
    )


def already_running(step: Step) -> Guard:
    """The step was begun already."""
    return _guard(
        "already_running",
        f"「{step.name}」已在办理中",
        f"Step {step.code} is running already",
        action="刷新页面",
    )


def already_done(step: Step) -> Guard:
    """The step was done already."""
    return _guard(
        "already_done",
        f"「{step.name}」已办结",
        f"Step {step.code} is done already",
        action="刷新页面",
    )


def not_begun(step: Step) -> Guard:
    """The step was not begun."""
    return _guard(
        "not_begun",
        f"「{step.name}」尚未开始",
        f"Step {step.code} has not been started",
        action="先开始本环节",
    )


def out_of_order(step: Step, waiting: Step | None) -> Guard:
    """Another step comes first."""
    if waiting is None:
        return _guard(
            "out_of_order",
            f"「{step.name}」已锁定，本办件不经过此环节",
            f"Step {step.code} is locked; this case does not pass it",
            article=step.order_basis,
        )
    return _guard(
        "out_of_order",
        f"「{step.name}」已锁定：「{waiting.name}」还没有办结",
        f"Step {step.code} is locked: {waiting.code} is not done yet",
        article=step.order_basis or step.legal_basis,
        action=f"先办结「{waiting.name}」",
    )


def suspended(notice_no: str, basis: str) -> Guard:
    """The clocks stand still."""
    return _guard(
        "suspended",
        f"计时已中止（告知书 {notice_no}），恢复计时后才能继续",
        f"The clocks are suspended (notice {notice_no}); resume them first",
        article=basis,
        action="恢复计时",
    )


def wrong_place(step: Step) -> Guard:
    """The step is not done at such a place."""
    return _guard(
        "wrong_place",
        f"「{step.name}」不在此类场所办理",
        f"Step {step.code} is not done at a place of this kind",
        field="place",
    )


def same_person(step: Step, earlier: Step) -> Guard:
    """Who did the earlier step may not do this one."""
    article = step.not_by.article if step.not_by is not None else ""
    return _guard(
        "same_person",
        f"您办理过「{earlier.name}」，「{step.name}」应由另一人办理",
        f"You did step {earlier.code}; somebody else must do {step.code}",
        article=article,
        action="由另一名有权限的人员办理",
    )


def unknown_field(code: str) -> Guard:
    """The form has no such field."""
    return _guard(
        "unknown_field",
        f"表单没有「{code}」这一项",
        f"The form has no field {code}",
        field=f"values.{code}",
    )


def field_missing(step: Step, item: FormField) -> Guard:
    """A required field is empty."""
    article = ""
    if step.staff is not None and item.code in step.staff.fields:
        article = step.staff.article
    return _guard(
        "field_missing",
        f"「{item.label}」未填写",
        f"{item.code} is empty",
        article=article,
        action=f"填写「{item.label}」",
        field=f"values.{item.code}",
    )


def not_a_choice(item: FormField) -> Guard:
    """The value is none of the choices."""
    return _guard(
        "not_a_choice",
        f"「{item.label}」应为：{'、'.join(item.choices)}",
        f"{item.code} must be one of: {', '.join(item.choices)}",
        field=f"values.{item.code}",
    )


def not_a_person(item: FormField) -> Guard:
    """The value is no person of the site."""
    return _guard(
        "not_a_person",
        f"「{item.label}」不是已登记的人员",
        f"{item.code} is not a registered person",
        field=f"values.{item.code}",
    )


def not_a_date(item: FormField) -> Guard:
    """The value is no date."""
    return _guard(
        "not_a_date",
        f"「{item.label}」应为日期，如 2026-11-24",
        f"{item.code} must be a date such as 2026-11-24",
        field=f"values.{item.code}",
    )


def staff_not_distinct(step: Step) -> Guard:
    """The same person was named twice."""
    staff = step.staff
    return _guard(
        "staff_not_distinct",
        f"「{step.name}」应有两名以上不同的工作人员",
        f"Step {step.code} needs at least two different persons",
        article=staff.article if staff is not None else "",
        action="更换其中一名人员",
        field=f"values.{staff.fields[-1]}" if staff is not None else "",
    )


def material_open(material: Material, state: str, step: Step) -> Guard:
    """A material is missing or doubtful."""
    missing = state == "missing"
    return _guard(
        "material_missing" if missing else "material_doubtful",
        f"材料「{material.name}」{'缺' if missing else '存疑'}",
        f"Material {material.code} is {state}",
        article=step.legal_basis,
        action="核对材料后标为已核，或一次告知补正",
        field=f"materials.{material.code}",
    )


def unknown_material(code: str) -> Guard:
    """The item has no such material."""
    return _guard(
        "unknown_material",
        f"本事项没有材料「{code}」",
        f"There is no material {code}",
        field="code",
    )


def already_suspended(notice_no: str) -> Guard:
    """The clocks stand still already."""
    return _guard(
        "already_suspended",
        f"计时已中止（告知书 {notice_no}）",
        f"The clocks are suspended already (notice {notice_no})",
        action="刷新页面",
    )


def nothing_to_suspend(basis: str) -> Guard:
    """Clocks can be stopped between acceptance and decision only."""
    return _guard(
        "nothing_to_suspend",
        "受理之后、作出决定之前才能中止计时",
        "Clocks can be suspended between acceptance and decision only",
        article=basis,
    )


def not_suspended() -> Guard:
    """The clocks run."""
    return _guard("not_suspended", "计时没有中止", "The clocks are not suspended")
