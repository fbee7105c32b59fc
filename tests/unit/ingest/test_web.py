"""The documents that SDKs load before they send."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cdp_ingest.callers import Callers
from cdp_ingest.ports import Source
from cdp_ingest.sources import RememberedSources
from cdp_ingest.web import Site, build_web
from cdp_runtime.auth import hash_token
from cdp_runtime.rates import Rates
from tests.fakes.ingest import FakeSourceTable


class Web:
    def __init__(self, site: Site) -> None:
        self.table = FakeSourceTable({"key": Source("demo", "s1", "Shop")})
        app = build_web(Callers(RememberedSources(self.table, lambda: 0.0), Rates(20, 20, lambda: 0.0)), site)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cdp.example:8000")


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    (tmp_path / "standalone.js").write_text("analytics")
    (tmp_path / "chunk.bundle.js").write_text("chunk")
    (tmp_path.parent / "secret.js").write_text("secret")
    web = Web(Site(scripts=tmp_path))
    yield web
    await web.client.aclose()


async def test_the_settings_send_browsers_to_this_gateway_and_nowhere_else(web: Web) -> None:
    answer = await web.client.get("/v1/projects/key/settings", headers={"origin": "https://shop"})
    assert answer.status_code == 200
    segment = answer.json()["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["apiHost"], segment["protocol"]) == ("key", "cdp.example:8000/v1", "http")
    assert answer.json()["metrics"] == {"sampleRate": 0}
    assert isinstance(answer.json()["plan"]["track"]["__default"], dict)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "max-age" in answer.headers["cache-control"]


async def test_a_consent_library_learns_which_categories_the_source_needs(web: Web) -> None:
    web.table.sources[hash_token("strict")] = Source("demo", "s2", "Shop", required_consent=("analytics", "ads"))
    answer = await web.client.get("/v1/projects/strict/settings")
    assert answer.json()["consentSettings"]["allCategories"] == ["analytics", "ads"]


async def test_a_public_host_and_a_proxys_scheme_are_told() -> None:
    web = Web(Site(public_host="cdp.shop.com"))
    answer = await web.client.get("/v1/projects/key/settings", headers={"x-forwarded-proto": "https"})
    segment = answer.json()["integrations"]["Segment.io"]
    assert (segment["apiHost"], segment["protocol"]) == ("cdp.shop.com/v1", "https")


async def test_an_unchanged_document_is_not_sent_again(web: Web) -> None:
    first = await web.client.get("/v1/projects/key/settings")
    again = await web.client.get("/v1/projects/key/settings", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_settings_of_an_unknown_key_are_404_but_not_in_an_outage(web: Web) -> None:
    assert (await web.client.get("/v1/projects/no/settings")).status_code == 404
    web.table.down = True
    for path in ("/v1/projects/other/settings", "/sourceConfig?writeKey=other"):
        answer = await web.client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), "nobody keeps a guess"


@pytest.mark.parametrize("path", ["/sourceConfig/?writeKey=key&p=web&v=3", "/sourceConfig?writeKey=key&p=android"])
async def test_rudders_source_config_is_enabled_without_destinations(web: Web, path: str) -> None:
    source = (await web.client.get(path)).json()["source"]
    assert (source["writeKey"], source["enabled"], source["destinations"]) == ("key", True, [])
    assert source["config"]["statsCollection"]["errors"] == {"enabled": False}


async def test_rudders_mobile_sdks_send_the_key_in_the_header(web: Web) -> None:
    answer = await web.client.get("/sourceConfig", auth=("key", ""))
    assert answer.json()["source"]["workspaceId"] == "demo"
    assert (await web.client.get("/sourceConfig")).status_code == 401


async def test_the_browser_library_is_served_from_its_folder_alone(web: Web) -> None:
    script = await web.client.get("/analytics.js/v1/key/analytics.min.js")
    assert (script.text, script.headers["content-type"]) == ("analytics", "text/javascript; charset=utf-8")
    assert (await web.client.get("/analytics-next/bundles/chunk.bundle.js")).text == "chunk"
    for path in ("../secret.js", "..%2fsecret.js", "missing.js"):
        assert (await web.client.get(f"/analytics-next/bundles/{path}")).status_code == 404


async def test_without_a_folder_the_answer_says_which_setting_is_missing() -> None:
    answer = await Web(Site()).client.get("/analytics.js/v1/key/analytics.min.js")
    assert answer.status_code == 404
    assert "CDP_INGEST_SCRIPTS_DIR" in answer.json()["message"]
