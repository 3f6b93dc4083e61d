"""What central's HTTP API sends and takes. Instants are integer milliseconds UTC (``*_ms``)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Role = Literal["administrator", "clerk", "unit_head", "inspector", "operator", "installer"]
StepState = Literal["locked", "ready", "running", "done", "returned"]
CaseState = Literal[
    "received", "accepted", "refused", "in_progress", "decided", "delivered", "archived"
]
ClockState = Literal["running", "suspended", "met", "breached"]
DueStatus = Literal["fixed", "provisional"]
Health = Literal["online", "degraded", "offline", "planned"]


class Model(BaseModel):
    """Base of every body: unknown fields are refused, so that a typing error shows."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_zero_bytes(cls, value: Any) -> Any:
        """PostgreSQL holds no NUL in text; say so here, where the field is known."""
        texts = value.items() if isinstance(value, dict) else [(value,)]
        if any(isinstance(text, str) and "\0" in text for pair in texts for text in pair):
            raise ValueError("holds a zero byte")
        return value


class Problem(Model):
    """Every error: what, where, what to do. zh first, en second."""

    code: str
    message: str
    message_en: str
    field: str = ""
    article: str = ""
    action: str = ""
    guards: list["Guard"] = []
    """Every reason why a step cannot be started or finished; empty for other errors."""


# --- who ---------------------------------------------------------------------------------------


class Login(Model):
    """Name and password."""

    username: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=256)]


class PasswordChange(Model):
    """Old and new password; the new one has at least 10 characters."""

    old: Annotated[str, Field(max_length=256)]
    new: Annotated[str, Field(min_length=10, max_length=256)]


class Me(Model):
    """The signed-in user, and what the navigation may show."""

    username: str
    name: str
    unit: str
    role: Role
    person: str | None
    must_change_password: bool
    pages: list[Literal["counter", "monitor", "cases", "devices", "register"]]
    site_name: str


# --- places and devices ------------------------------------------------------------------------


class Place(Model):
    """A counter or room."""

    id: str
    name: str
    kind: Literal["counter", "room"]


class PersonRef(Model):
    """A person of the site, for form fields of kind ``person`` (their value is the id)."""

    id: str
    name: str
    unit: str


class Stream(Model):
    """One feed of a camera that may be watched live."""

    stream: str
    device: str
    name: str
    place: str | None
    place_name: str
    health: Health


class Device(Model):
    """A device with its health; `detail` is one line for people: what, where, what to do."""

    id: str
    device_class: Literal["camera", "fingerprint_terminal", "agent"]
    name: str
    place: str | None
    place_name: str
    health: Health
    cause: str
    detail: str
    since_ms: int | None
    spool_pending: int
    clock_offset_ms: int | None
    streams: list[str]
    maker: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""


# --- cases -------------------------------------------------------------------------------------


class Item(Model):
    """An item that a case can be opened for."""

    code: str
    name: str
    version: str
    legal_basis: list[str]


class NewCase(Model):
    """Open a case at a counter."""

    item: str
    applicant: Annotated[str, Field(min_length=1, max_length=100)]
    place: str


class CaseRow(Model):
    """A line of a case list."""

    no: str
    item: str
    item_name: str
    applicant_masked: str
    unit: str
    place: str
    state: CaseState
    step_seq: int
    step_name: str
    opened_ms: int
    due: "Due | None"
    coverage_permille: int | None


class CasePage(Model):
    """One page of cases."""

    total: int
    items: list[CaseRow]


class Due(Model):
    """A limit in a few words. `due_date` is a date in Asia/Shanghai, ``YYYY-MM-DD``."""

    clock: str
    kind: Literal["statutory", "promised", "step"]
    state: ClockState
    due_date: str
    due_status: DueStatus
    budget: int
    used: int
    """Days counted so far, today included."""
    left: int
    """`budget` - `used`: 0 on the last day, negative once the limit is passed."""
    unit: Literal["working_day", "calendar_day"]
    source: str


class DayCell(Model):
    """One day of a clock: what it is and whether it counts."""

    date: str
    kind: Literal["start", "working", "makeup", "weekend", "holiday", "suspended"]
    name: str = ""
    count: int | None
    """Running count after this day; None when the day does not count."""
    past: bool
    today: bool
    provisional: bool


class Why(Model):
    """为什么是这一天: the day-by-day ledger of one clock."""

    due: Due
    days: list[DayCell]
    rules: list["WhyRule"]


class WhyRule(Model):
    """One rule that made the date, with its source."""

    text: str
    source: str
    pending: bool = False


class Material(Model):
    """One material of a case."""

    code: str
    name: str
    required: bool
    state: Literal["missing", "checked", "doubtful"]
    source: Literal["counter_scan", "e_licence", "made_here"]
    note: str = ""


class FormField(Model):
    """A field of a step's form, as the flow pack defines it."""

    code: str
    label: str
    kind: Literal["text", "long_text", "choice", "date", "person"]
    """Values are strings: a choice is one of `choices`, a date ``YYYY-MM-DD``, a person its id."""
    required: bool
    choices: list[str] = []
    help: str = ""


class Guard(Model):
    """Why the next action is not allowed yet."""

    code: str
    text: str
    text_en: str
    article: str
    action: str
    field: str = ""


class StepLink(Model):
    """The footage bound to a step, as last stated by the gateway."""

    revision: int
    final: bool
    covered_permille: int
    streams: list["StepLinkStream"]


class StepLinkStream(Model):
    """One stream's part in a step's footage."""

    stream: str
    device_name: str
    covered_permille: int
    missing_ms: int
    clock_offset_ms: int | None
    gaps: list["GapOut"]


class GapOut(Model):
    """Missing footage. `to_ms` is None while it lasts."""

    from_ms: int
    to_ms: int | None
    cause: str
    detail: str = ""


class Step(Model):
    """A step of a case."""

    id: str
    seq: int
    code: str
    name: str
    role: Role
    state: StepState
    place: str | None
    place_name: str
    person: str | None
    person_name: str
    started_ms: int | None
    ended_ms: int | None
    legal_basis: str
    limit_text: str
    due: Due | None
    link: StepLink | None
    form: list[FormField]
    values: dict[str, str]
    makes: list[str]


class CaseEvent(Model):
    """A line of a case's history."""

    at_ms: int
    kind: str
    text: str
    person_name: str
    step_seq: int | None


class Case(Model):
    """Everything a case page shows, footage apart."""

    no: str
    item: str
    item_name: str
    pack_version: str
    applicant_masked: str
    unit: str
    place: str
    place_name: str
    state: CaseState
    opened_ms: int
    clocks: list[Due]
    steps: list[Step]
    materials: list[Material]
    guards: list[Guard]
    """What forbids finishing the running step (or starting the next), for this user."""
    events: list[CaseEvent]
    revision: int
    saved_ms: int | None


class StepStart(Model):
    """Begin a step; the counter where it is done."""

    place: str


class StepDraft(Model):
    """Save a form half filled; `revision` guards against lost updates."""

    values: dict[str, Annotated[str, Field(max_length=4000)]]
    revision: int


class StepFinish(Model):
    """Finish a step with its form."""

    values: dict[str, Annotated[str, Field(max_length=4000)]]
    revision: int


class MaterialChange(Model):
    """Mark a material."""

    state: Literal["missing", "checked", "doubtful"]
    note: Annotated[str, Field(max_length=500)] = ""
    revision: int


class Suspend(Model):
    """Stop the clocks for a special procedure (行政许可法 art. 45); needs a written notice."""

    reason: Annotated[str, Field(min_length=4, max_length=500)]
    notice_no: Annotated[str, Field(min_length=1, max_length=100)]
    revision: int


# --- replay ------------------------------------------------------------------------------------


class RetrievalRequest(Model):
    """调阅登记: the reason before any footage (公共安全视频图像信息系统管理条例 art. 16)."""

    step: int | None = None
    reason: Annotated[str, Field(min_length=10, max_length=500)]
    basis: Literal["complaint", "routine_check", "case_review", "statutory_request"]


class Retrieval(Model):
    """A registered retrieval; its id opens the case's footage until it expires."""

    id: str
    case_no: str
    step: int | None
    user: str
    user_name: str
    unit: str
    reason: str
    basis: str
    at_ms: int
    expires_ms: int
    from_ms: int
    to_ms: int
    """The footage that may be seen: the case's steps with their rolls."""
    views: int


class Span(Model):
    """Half-open interval."""

    from_ms: int
    to_ms: int


class StreamLane(Model):
    """What one camera has within the range."""

    stream: str
    device: str
    name: str
    place_name: str
    recorded: list[Span]
    gaps: list[GapOut]
    codec: str | None
    playable: bool
    clock_offset_ms: int | None
    reachable: bool
    """False when the site's gateway did not answer; then nothing is said about footage."""


class PresenceLane(Model):
    """Whether somebody was at a post."""

    place: str
    state: Literal["present", "absent", "unknown"]
    from_ms: int
    to_ms: int | None
    most_people: int
    cause: str
    model: str


class PunchMark(Model):
    """A punch at a terminal."""

    id: str
    at_ms: int
    device: str
    person: str | None
    person_name: str
    direction: str
    verify: str
    origin: Literal["live", "stored"]


class CaseTimeline(Model):
    """The lanes of a case page within a range. Events need no retrieval; footage lanes do."""

    from_ms: int
    to_ms: int
    now_ms: int
    presence: list[PresenceLane]
    punches: list[PunchMark]
    operations: list[CaseEvent]
    streams: list[StreamLane]


class Register(Model):
    """A page of the retrieval register."""

    total: int
    items: list[Retrieval]


class Message(Model):
    """A message on the WebSocket ``/api/live/events``; `seq` has no holes within a connection."""

    seq: int
    kind: Literal["hello", "case", "device", "punch", "presence", "link", "heartbeat"]
    at_ms: int
    data: dict[str, Any]
