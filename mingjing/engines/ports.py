"""TCP ports of this machine: free or taken, and by whom."""

import socket
from contextlib import closing

import psutil

from contracts.errors import Unavailable


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def listens(pid: int, port: int) -> bool:
    """Whether that process, or one that it started, listens on `port`.

    That somebody answers there says nothing: it may be a program of another site.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        connections = [c for member in family for c in member.net_connections(kind="tcp")]
    except psutil.Error:
        return False
    return any(
        c.status == psutil.CONN_LISTEN and tuple(c.laddr)[1:2] == (port,) for c in connections
    )


def holder(port: int) -> str:
    """The process that listens on `port`, in words; empty when the system does not tell."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,):
            try:
                name = psutil.Process(connection.pid).name() if connection.pid else ""
            except psutil.NoSuchProcess:
                name = ""
            return f"{name} (pid {connection.pid})" if name else ""
    return ""


def explain_taken(what: str, host: str, port: int) -> None:
    """Refuse a taken port with what to do.

    Raises:
        Unavailable: somebody listens there.
    """
    if is_free(host, port):
        return
    by = holder(port)
    raise Unavailable(
        f"{what}: 端口 {host}:{port} 已被{by or '别的程序'}占用, 请停止它或改用别的端口 / "
        f"port {host}:{port} is taken{f' by {by}' if by else ''}; stop it or choose another port"
    )


def next_free(
    host: str, wanted: int, *, tries: int = 50, avoid: frozenset[int] = frozenset()
) -> int:
    """The first free port from `wanted` upwards.

    Raises:
        Unavailable: none within `tries`.
    """
    for port in range(wanted, wanted + tries):
        if port not in avoid and is_free(host, port):
            return port
    raise Unavailable(f"no free port in {wanted}-{wanted + tries - 1} on {host}")


def ephemeral(host: str = "127.0.0.1") -> int:
    """A port that the system holds free at this moment."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
