"""ClickHouse: a directory and a port in, a server's command out: `clickhouse` from the PATH, else chDB over HTTP."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import httpx

from cdp_devstack.errors import PartUnavailable
from cdp_devstack.process import BEHIND_THE_DOOR, Command

DATABASE = "cdp"

SERVER_SETTINGS = """\
<clickhouse>
  <logger><console>1</console><level>warning</level></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{port}</http_port>
  <path>{path}/</path>
  <tmp_path>{path}/tmp/</tmp_path>
  <user_files_path>{path}/user_files/</user_files_path>
  <format_schema_path>{path}/format_schemas/</format_schema_path>
  <mark_cache_size>268435456</mark_cache_size>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>1</access_management>
    </default>
  </users>
</clickhouse>
"""


class ClickHouse:
    """The column store, reachable over HTTP from this machine only."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        # one for every look: a new one reads the machine's certificates; it keeps no connection to a server that ends
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False, limits=limits)

    @property
    def url(self) -> str:
        """http:// URL with user and database, as clickhouse-connect's dsn."""
        return f"http://default:@127.0.0.1:{self._port}/{DATABASE}"

    def prepare(self) -> Command:
        """Make its directory, and the settings of the server if there is one."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if server := shutil.which("clickhouse"):
            return self._server(server)
        if importlib.util.find_spec("chdb") is None:
            raise PartUnavailable("There is no ClickHouse: `pip install chdb`, or set CDP_CLICKHOUSE_URL.")
        module = ["-m", "cdp_devstack.clickhouse", "--port", str(self._port), "--path", str(self._directory / "chdb")]
        return Command([sys.executable, *module], niceness=BEHIND_THE_DOOR)

    def probe(self) -> bool:
        """Whether it answers a query."""
        try:
            return self._post("SELECT 1").is_success
        except httpx.HTTPError:
            return False

    def finish(self) -> None:
        """Create the database."""
        self._post(f"CREATE DATABASE IF NOT EXISTS {DATABASE}").raise_for_status()

    def _post(self, query: str) -> httpx.Response:
        return self._http.post("/", content=query)

    def _server(self, executable: str) -> Command:
        path = self._directory / "server"
        path.mkdir(exist_ok=True)
        settings = self._directory / "config.xml"
        settings.write_text(SERVER_SETTINGS.format(port=self._port, path=escape(str(path))))
        server = [executable, "server", f"--config-file={settings}"]
        return Command(server, niceness=BEHIND_THE_DOOR, stop_seconds=20)
