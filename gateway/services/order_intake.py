"""Takes central's orders: the site's register, and steps that want their footage bound."""

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from pydantic import ValidationError

from contracts.wire.orders import SiteOrder, StepOrder
from gateway.ports import Message, Register, StepStore

_log = structlog.get_logger()


class OrderStore(Register, StepStore, Protocol):
    """What orders are kept in."""


class OrderIntake:
    """Handles the `orders` inbox. An order told twice has one effect."""

    def __init__(self, *, site: str, store: OrderStore, changed: Callable[[], None]) -> None:
        """Take orders for `site`; `changed` is called after one took effect."""
        self._site = site
        self._store = store
        self._changed = changed

    async def handle(self, batch: Sequence[Message]) -> None:
        """Take one batch; what cannot be read is logged, for it would never be readable.

        Raises:
            Unavailable: the disk does not take it; the batch comes again.
        """
        for message in batch:
            kind = message.subject.rpartition(".")[2]
            try:
                await self._take(kind, message.payload)
            except ValidationError as exc:
                first = exc.errors()[0]
                _log.error(
                    "order_invalid",
                    kind=kind,
                    field=".".join(map(str, first["loc"])),
                    reason=first["msg"],
                )
        self._changed()

    async def _take(self, kind: str, payload: bytes) -> None:
        if kind == SiteOrder.KIND:
            order = SiteOrder.model_validate_json(payload)
            if order.site != self._site:
                _log.error("order_for_another_site", site=order.site)
            elif await self._store.put_site(order):
                _log.info("register_replaced", version=order.version, devices=len(order.devices))
        elif kind == StepOrder.KIND:
            await self._store.put_step(StepOrder.model_validate_json(payload))
        else:
            _log.warning("order_unknown", kind=kind)
