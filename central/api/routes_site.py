"""The site's register: places, persons, devices with their health, items."""

from typing import Annotated

from fastapi import APIRouter, Depends

from central.api import present
from central.api.dependencies import Ctx, allow
from central.api.schemas import Device, Item, PersonRef, Place
from central.domain.register import User
from central.handlers import live

router = APIRouter(prefix="/api", tags=["site"])


@router.get("/places")
async def places(ctx: Ctx, user: Annotated[User, Depends(allow("places.read"))]) -> list[Place]:
    """Counters and rooms."""
    async with ctx.store.transaction() as tx:
        found = await tx.register.places(user.site)
    return [Place(id=place.id, name=place.name, kind=place.kind) for place in found]


@router.get("/persons")
async def persons(
    ctx: Ctx, user: Annotated[User, Depends(allow("persons.read"))]
) -> list[PersonRef]:
    """Persons, for form fields that name one."""
    async with ctx.store.transaction() as tx:
        found = await tx.register.persons(user.site)
    return [PersonRef(id=person.id, name=person.name, unit=person.unit) for person in found]


@router.get("/devices")
async def devices(ctx: Ctx, user: Annotated[User, Depends(allow("devices.read"))]) -> list[Device]:
    """Devices, worst health first."""
    return [present.device(view) for view in await live.list_devices(ctx, user)]


@router.get("/items")
async def items(ctx: Ctx, user: Annotated[User, Depends(allow("items.read"))]) -> list[Item]:
    """Items that a case can be opened for."""
    del user
    return [present.item(pack) for pack in ctx.packs.newest()]
