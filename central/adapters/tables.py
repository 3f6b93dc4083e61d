"""Central's tables. All instants are wall time in nanoseconds UTC (bigint).

Invariants:

1. ``case_events`` and ``audit_events`` are only ever appended to (a trigger refuses the rest), and
   each row holds the digest of the one in front of it.
2. ``cases`` is a projection: everything in it but ``revision`` and ``saved_ns`` follows from the
   events and can be made anew.
3. An order is in ``order_outbox`` if and only if the transaction that caused it was committed and
   the broker has not confirmed it.
4. ``punches``, ``presence``, ``device_health`` and ``footage_links`` do not depend on the order or
   the number of times in which facts arrive.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, **more: object) -> Column[str]:
    return Column(name, Text, nullable=False, **more)  # type: ignore[arg-type]  # keywords of Column


def _maybe_text(name: str) -> Column[str]:
    return Column(name, Text, nullable=True)


def _int(name: str, **more: object) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **more)  # type: ignore[arg-type]  # as above


def _maybe_int(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=True)


# --- the site's register -----------------------------------------------------------------------

sites = Table(
    "sites",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _int("version"),
    _text("digest"),
)

places = Table(
    "places",
    metadata,
    _text("site", primary_key=True),
    _text("id", primary_key=True),
    _text("name"),
    _text("kind"),
    _text("opens"),
    _text("closes"),
    Column("position", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    _text("site", primary_key=True),
    _text("id", primary_key=True),
    _text("device_class"),
    _text("name"),
    _maybe_text("place"),
    Column("streams", ARRAY(Text), nullable=False),
    Column("detects_presence", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
)

persons = Table(
    "persons",
    metadata,
    _text("site", primary_key=True),
    _text("id", primary_key=True),
    _text("name"),
    _text("unit"),
    Column("terminal_users", ARRAY(Text), nullable=False),
    Column("position", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
)

flow_packs = Table(
    "flow_packs",
    metadata,
    _text("code", primary_key=True),
    _text("version", primary_key=True),
    _text("source"),
    _text("digest"),
)

# --- users -------------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    _text("username", primary_key=True),
    _text("site"),
    _text("role"),
    _maybe_text("person"),
    _maybe_text("place"),
    _text("password_hash"),
    Column("must_change_password", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    _text("token_hash", primary_key=True),
    Column(
        "username",
        Text,
        ForeignKey("users.username", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    _int("opened_ns"),
    _int("seen_ns"),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    _text("key"),
    _int("at_ns"),
    Index(None, "key", "at_ns"),
)

# --- cases -------------------------------------------------------------------------------------

number_series = Table(
    "number_series", metadata, _text("series", primary_key=True), _int("last_number")
)

cases = Table(
    "cases",
    metadata,
    _text("no", primary_key=True),
    _text("site"),
    _text("item"),
    _text("pack_version"),
    _text("applicant"),
    _text("unit"),
    _text("place"),
    _text("state"),
    Column("step_seq", SmallInteger, nullable=False),
    _maybe_text("step_role"),
    _int("opened_ns"),
    _int("revision"),
    _maybe_int("saved_ns"),
    Column("clocks", JSONB, nullable=False),
    Index(None, "site", "opened_ns"),
    Index(None, "site", "step_role", "opened_ns"),
)

case_events = Table(
    "case_events",
    metadata,
    Column("case_no", Text, ForeignKey("cases.no"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _int("at_ns"),
    _text("kind"),
    _text("username"),
    _maybe_text("person"),
    Column("body", JSONB, nullable=False),
    _text("prev"),
    _text("digest"),
)

step_drafts = Table(
    "step_drafts",
    metadata,
    Column("case_no", Text, ForeignKey("cases.no"), primary_key=True),
    Column("seq", SmallInteger, primary_key=True),
    Column("values", JSONB, nullable=False),
)

# --- facts of gateways -------------------------------------------------------------------------

punches = Table(
    "punches",
    metadata,
    _text("id", primary_key=True),
    _text("site"),
    _text("device"),
    _int("seq"),
    _maybe_text("place"),
    _maybe_text("person"),
    _int("at_ns"),
    Column("body", JSONB, nullable=False),
    Index(None, "site", "place", "at_ns"),
)

presence = Table(
    "presence",
    metadata,
    _text("id", primary_key=True),
    _text("site"),
    _text("place"),
    _int("revision"),
    _int("from_ns"),
    _maybe_int("to_ns"),
    Column("body", JSONB, nullable=False),
    Index(None, "site", "place", "from_ns"),
)

device_health = Table(
    "device_health",
    metadata,
    _text("site", primary_key=True),
    _text("device", primary_key=True),
    _int("at_ns"),
    _text("fact_id"),
    Column("body", JSONB, nullable=False),
)

footage_links = Table(
    "footage_links",
    metadata,
    _text("step", primary_key=True),
    _text("site"),
    Column("case_no", Text, nullable=False, index=True),
    _int("revision"),
    Column("covered_permille", SmallInteger, nullable=False),
    Column("body", JSONB, nullable=False),
)

rejected_facts = Table(
    "rejected_facts",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    _text("site"),
    _text("subject"),
    Column("raw", LargeBinary, nullable=False),
    _text("reason"),
)

# --- footage -----------------------------------------------------------------------------------

retrievals = Table(
    "retrievals",
    metadata,
    _text("id", primary_key=True),
    _text("site"),
    _text("case_no"),
    Column("step", SmallInteger, nullable=True),
    _text("username"),
    _text("user_name"),
    _text("unit"),
    _text("reason"),
    _text("basis"),
    _int("at_ns"),
    _int("expires_ns"),
    _int("from_ns"),
    _int("to_ns"),
    Column("streams", ARRAY(Text), nullable=False),
    _int("views"),
    Index(None, "site", "at_ns"),
)

live_sessions = Table(
    "live_sessions",
    metadata,
    _text("id", primary_key=True),
    _text("site"),
    _text("username"),
    _text("stream"),
    _text("location"),
    _int("at_ns"),
)

# --- journal -----------------------------------------------------------------------------------

audit_events = Table(
    "audit_events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _int("at_ns"),
    _text("username"),
    _text("action"),
    Column("body", JSONB, nullable=False),
    _text("prev"),
    _text("digest"),
)

order_outbox = Table(
    "order_outbox",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    _text("site"),
    _text("kind"),
    _text("message_id"),
    Column("body", JSONB, nullable=False),
    _int("at_ns"),
    UniqueConstraint("message_id"),
)
