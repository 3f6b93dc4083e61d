"""Central's settings: ``central.toml``. Paths are relative to the file."""

import ssl
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import InvalidInput
from contracts.ids import parse_site_id


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSection(_Section):
    """Where the broker is; without it no facts come in and orders wait."""

    url: Annotated[str, Field(pattern=r"^(tls|nats)://")]


class GatewaySection(_Section):
    """A site's gateway."""

    site: str
    url: Annotated[str, Field(pattern=r"^https?://[^/]+$")]


class CentralConfig(_Section):
    """Everything central is told at its start.

    Attributes:
        listen: host and port of the pages and the API; port 0 picks a free one.
        database: SQLAlchemy URL, ``postgresql+asyncpg://…``.
        certificate: central's certificate, shown to the broker and signing grants.
        key: its private key.
        ca: the site's CA, which broker and gateways are checked against.
        site_file: the site's register.
        web: folder of the built pages; empty: the one in the package.
        https: serve HTTPS with the certificate; otherwise a proxy or the loopback is in front.
        calendar: table of working days that overrides the libraries; empty: none.
        packs: further flow packs beside those shipped.
    """

    listen: Annotated[str, Field(pattern=r"^.+:\d{1,5}$")]
    database: Annotated[str, Field(pattern=r"^postgresql\+asyncpg://")]
    certificate: Path
    key: Path
    ca: Path
    site_file: Path
    web: str = ""
    https: bool = False
    calendar: str = ""
    packs: tuple[Path, ...] = ()
    broker: BrokerSection | None = None
    gateways: tuple[GatewaySection, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            InvalidInput: not readable, or a field is wrong; names it.
        """
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise InvalidInput(f"读不了 {path}：{exc}", field="central.toml") from exc
        try:
            config = cls.model_validate(raw)
        except ValidationError as exc:
            first = exc.errors()[0]
            raise InvalidInput(first["msg"], field=".".join(map(str, first["loc"]))) from exc
        for index, gateway in enumerate(config.gateways):
            parse_site_id(gateway.site, field=f"gateways[{index}].site")
        return config.resolved(path.absolute().parent)

    @property
    def host(self) -> str:
        """Address to listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port to listen on."""
        return int(self.listen.rpartition(":")[2])

    @property
    def web_folder(self) -> Path:
        """Folder of the built pages."""
        return Path(self.web) if self.web else Path(str(files("central"))) / "web" / "dist"

    def client_tls(self) -> ssl.SSLContext:
        """TLS towards broker and gateways: trusts the site's CA, shows central's certificate.

        Raises:
            InvalidInput: a file is missing or no certificate; names the field.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as exc:
            raise InvalidInput(f"读不了 {self.ca}：{exc}", field="ca") from exc
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as exc:
            raise InvalidInput(
                f"读不了 {self.certificate} 或 {self.key}：{exc}", field="certificate"
            ) from exc
        return context

    def resolved(self, base: Path) -> Self:
        """The same with paths relative to a folder."""
        changed: dict[str, Any] = {
            name: base / getattr(self, name) for name in ("certificate", "key", "ca", "site_file")
        }
        changed["packs"] = tuple(base / pack for pack in self.packs)
        for name in ("web", "calendar"):
            if getattr(self, name):
                changed[name] = str(base / getattr(self, name))
        return self.model_copy(update=changed)
