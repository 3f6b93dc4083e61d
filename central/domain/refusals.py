"""Why something is not allowed: texts for people in two languages, guards with their article."""

from dataclasses import dataclass

from contracts.errors import MingjingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One sentence in Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One reason why the next action is not allowed yet, and what to do about it."""

    code: str
    text: Text
    article: str = ""
    action: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What `Refused` carries; `status` is the HTTP status it maps to."""

    status: int
    code: str
    text: Text
    field: str = ""
    article: str = ""
    action: str = ""
    guards: tuple[Guard, ...] = ()
    retry_after_s: int = 0


class Refused(MingjingError):  # noqa: N818 - reads as a fact, as its siblings in contracts.errors
    """A request that central refuses with a reason fit for a page."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text.zh)
        self.status = refusal.status
        self.code = refusal.code
        self.text = refusal.text
        self.field = refusal.field
        self.article = refusal.article
        self.action = refusal.action
        self.guards = refusal.guards
        self.retry_after_s = refusal.retry_after_s


def not_found(what: Text) -> Refused:
    """There is no such thing, or not for this user."""
    return Refused(Refusal(status=404, code="not_found", text=what))


def denied(text: Text, *, code: str = "denied", action: str = "") -> Refused:
    """The user is known and lacks the right."""
    return Refused(Refusal(status=403, code=code, text=text, action=action))


def conflict(text: Text, *, code: str, action: str = "") -> Refused:
    """The present state forbids it."""
    return Refused(Refusal(status=409, code=code, text=text, action=action))


def invalid(text: Text, *, field: str, action: str = "") -> Refused:
    """A field is wrong."""
    return Refused(Refusal(status=422, code="invalid", text=text, field=field, action=action))
