"""Taking in what gateways state: one fact, one transaction, safe to repeat."""

from pydantic import ValidationError

from central.handlers.context import Context
from central.ports import Change, Fact
from contracts.timestamps import NS_PER_MS
from contracts.wire.access import PunchFact
from contracts.wire.footage import FootageLinkFact
from contracts.wire.presence import DeviceHealthFact, PresenceFact

KINDS: dict[str, type[Fact]] = {
    model.KIND: model for model in (PunchFact, PresenceFact, DeviceHealthFact, FootageLinkFact)
}


async def take(ctx: Context, *, site: str, subject: str, raw: bytes) -> str:
    """Store a fact of a site's gateway.

    Returns:
        ``stored``, ``known`` (repeated or outdated) or ``rejected`` (kept aside: not readable).

    Raises:
        Unavailable: the database is not there; try again later.
    """
    kind = subject.rsplit(".", 1)[-1]
    model = KINDS.get(kind)
    if model is None:
        return await _reject(ctx, site, subject, raw, f"no kind of fact: {kind}")
    try:
        fact = model.model_validate_json(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return await _reject(ctx, site, subject, raw, reason)
    async with ctx.store.transaction() as tx:
        if not await tx.facts.store(site, fact):
            return "known"
        await tx.journal.announce(_change(site, fact))
    return "stored"


async def _reject(ctx: Context, site: str, subject: str, raw: bytes, reason: str) -> str:
    async with ctx.store.transaction() as tx:
        await tx.facts.store_rejected(site, subject, raw, reason)
    return "rejected"


def _change(site: str, fact: Fact) -> Change:
    if isinstance(fact, PunchFact):
        content = {
            "id": fact.id,
            "device": fact.device,
            "place": fact.place,
            "person": fact.person,
            "at_ms": fact.at_ns // NS_PER_MS,
        }
        return Change(kind="punch", site=site, content=content)
    if isinstance(fact, PresenceFact):
        content = {
            "id": fact.id,
            "place": fact.place,
            "state": fact.state,
            "from_ms": fact.from_ns // NS_PER_MS,
            "to_ms": None if fact.to_ns is None else fact.to_ns // NS_PER_MS,
        }
        return Change(kind="presence", site=site, content=content)
    if isinstance(fact, DeviceHealthFact):
        return Change(
            kind="device",
            site=site,
            content={"id": fact.device, "health": fact.health, "cause": fact.cause},
        )
    content = {
        "case": fact.case,
        "step": fact.step,
        "covered_permille": fact.covered_permille,
        "final": fact.final,
    }
    return Change(kind="link", site=site, content=content)
