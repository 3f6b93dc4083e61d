"""Somebody takes a port between choosing it and binding it: the site starts on another one."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from contracts.errors import Unavailable
from mingjing import site
from mingjing.engines.ports import ephemeral, is_free
from mingjing.provision import Ports, choose_ports
from mingjing.site import RunOptions, running_site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def some_ports() -> Ports:
    return Ports(**{name: ephemeral() for name in Ports.__dataclass_fields__})


class Thief:
    """Takes one of the chosen ports right after each choice, as another site's program does."""

    def __init__(self, stack: ExitStack, name: str, *, times: int) -> None:
        self._stack, self._name, self._times = stack, name, times
        self.taken: list[int] = []

    def choose(self, wanted: Ports, *, central_is_fixed: bool = False) -> Ports:
        ports = choose_ports(wanted, central_is_fixed=central_is_fixed)
        if len(self.taken) < self._times:
            taken = self._stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", getattr(ports, self._name)))
            taken.listen()
            self.taken.append(getattr(ports, self._name))
        return ports


@pytest.mark.parametrize("name", ["broker", "terminal"])
async def test_a_taken_port_is_chosen_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its program starts first or last; every part runs on the second choice."""
    said: list[str] = []
    with ExitStack() as stack:
        thief = Thief(stack, name, times=1)
        monkeypatch.setattr(site, "choose_ports", thief.choose)
        options = RunOptions(data=tmp_path / "var", ports=some_ports())
        async with running_site(options, said.append) as running:
            assert getattr(running.layout.ports, name) not in thief.taken
            assert all(child.is_running for child in running.children.values())
    assert any(str(thief.taken[0]) in line and "anew" in line for line in said)


async def test_it_is_given_up_at_the_third_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded; the error names the part, and nothing is left running on the other ports."""
    with ExitStack() as stack:
        thief = Thief(stack, "broker", times=99)
        monkeypatch.setattr(site, "choose_ports", thief.choose)
        options = RunOptions(data=tmp_path / "var", ports=some_ports())
        with pytest.raises(Unavailable, match="NATS"):
            async with running_site(options, lambda _: None):
                pass
        assert len(thief.taken) == 3
    assert all(is_free("127.0.0.1", port) for port in thief.taken)
