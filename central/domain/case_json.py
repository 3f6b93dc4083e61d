"""Clock ledgers as JSON, for the projection that lists are made of."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from central.domain.clocks import Ledger, Suspension


def ledger_to_json(ledger: Ledger) -> dict[str, Any]:
    """A ledger's facts; dates as ISO text."""
    return {
        "code": ledger.code,
        "name": ledger.name,
        "kind": ledger.kind,
        "unit": ledger.unit,
        "budget": ledger.budget,
        "source": ledger.source,
        "started": ledger.started.isoformat(),
        "ended": None if ledger.ended is None else ledger.ended.isoformat(),
        "suspensions": [
            {
                "from_day": item.from_day.isoformat(),
                "to_day": None if item.to_day is None else item.to_day.isoformat(),
                "reason": item.reason,
                "notice_no": item.notice_no,
            }
            for item in ledger.suspensions
        ],
    }


def ledger_from_json(raw: Mapping[str, Any]) -> Ledger:
    """The ledger that `ledger_to_json` wrote."""
    return Ledger(
        code=raw["code"],
        name=raw["name"],
        kind=raw["kind"],
        unit=raw["unit"],
        budget=raw["budget"],
        source=raw["source"],
        started=date.fromisoformat(raw["started"]),
        ended=None if raw["ended"] is None else date.fromisoformat(raw["ended"]),
        suspensions=tuple(
            Suspension(
                from_day=date.fromisoformat(item["from_day"]),
                to_day=None if item["to_day"] is None else date.fromisoformat(item["to_day"]),
                reason=item["reason"],
                notice_no=item["notice_no"],
            )
            for item in raw["suspensions"]
        ),
    )
