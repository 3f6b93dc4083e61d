"""The site's register: places, persons, devices with their health, items."""

from typing import Annotated

from fastapi import APIRouter, Depends

from central.api.dependencies import Ctx, allow
from central.api.schemas import Device, Item, PersonRef, Place
from central.domain.register import User

router = APIRouter(prefix="/api", tags=["site"])


@router.get("/places")
async def places(ctx: Ctx, user: Annotated[User, Depends(allow("places.read"))]) -> list[Place]:
    """Counters and rooms."""
    raise NotImplementedError


@router.get("/persons")
async def persons(
    ctx: Ctx, user: Annotated[User, Depends(allow("persons.read"))]
) -> list[PersonRef]:
    """Persons, for form fields that name one."""
    raise NotImplementedError


@router.get("/devices")
async def devices(ctx: Ctx, user: Annotated[User, Depends(allow("devices.read"))]) -> list[Device]:
    """Devices, worst health first."""
    raise NotImplementedError


@router.get("/items")
async def items(ctx: Ctx, user: Annotated[User, Depends(allow("items.read"))]) -> list[Item]:
    """Items that a case can be opened for."""
    raise NotImplementedError
