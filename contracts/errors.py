"""The error tree of the whole project.

* MingjingError
  + InvalidInput       somebody gave us something wrong; names the field
    - ProtocolError    bytes of a peer that break its protocol
  + Unavailable        a thing we need is not there now; trying again may help
  + Denied             the caller may not do this
  + Conflict           the present state does not allow it

Blame is part of the type. Foreign exceptions are mapped to one of these at the edge where they
occur.
"""


class MingjingError(Exception):
    """Root of every error this project raises on purpose."""


class InvalidInput(MingjingError):  # noqa: N818 - reads as a fact, not as a class of errors
    """A value from outside is wrong.

    Attributes:
        field: dotted name of the offending field, e.g. ``steps[2].limit.days``; empty if unknown.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class ProtocolError(InvalidInput):
    """Bytes from a peer break its protocol; the message says which field and why."""


class Unavailable(MingjingError):  # noqa: N818 - see InvalidInput
    """A device, file, engine or network is not there now; a later attempt may succeed."""


class Denied(MingjingError):  # noqa: N818 - see InvalidInput
    """The caller is known but may not do this; the message says what right is missing."""


class Conflict(MingjingError):  # noqa: N818 - see InvalidInput
    """The present state forbids the request; the message names the rule."""
