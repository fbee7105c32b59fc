"""Characters that no store can keep are refused with their place, wherever in a request they are."""

from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from cdp_analytics_api.door import faults
from cdp_analytics_api.door.audit import subject
from cdp_analytics_api.door.texts import sound_texts


class Note(BaseModel):
    name: str = ""
    more: dict[str, Any] = {}


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI(dependencies=[Depends(sound_texts)])
    faults.install(app)

    @app.post("/notes/{ref}")
    async def note(ref: str, note: Note) -> str:
        return ref + note.name

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://door")


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/notes/a%00b", "{}", "ref"),
        ("/notes/a?x=1&y=%00", "{}", "y"),
        ("/notes/a", r'{"name": "a\u0000"}', "name"),
        ("/notes/a", r'{"name": "\ud800"}', "name"),
        ("/notes/a", r'{"more": {"list": ["", {"deep": "\u0000"}]}}', "more.list[1].deep"),
        ("/notes/a", r'{"more": {"\u0000": 1}}', "more (a key)"),
    ],
)
async def test_it_is_refused_with_its_place(client: httpx.AsyncClient, path: str, body: str, place: str) -> None:
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert place in {detail["path"] for detail in answer.json()["error"]["details"]}


@pytest.mark.parametrize("text", [r"caf\u00e9", r"\ud83d\ude00", r"\\u0000", "plain", r"\n"])
async def test_what_can_be_kept_passes(client: httpx.AsyncClient, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/notes/a?q=caf%C3%A9", content=f'{{"name": "{text}"}}', headers=headers)
    assert answer.status_code == 200, answer.text


async def test_bodies_that_are_no_json_are_someone_elses_to_judge(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    assert (await client.post("/notes/a", content=rb'{"name": "\u00', headers=headers)).status_code == 400
    assert (await client.post("/notes/a", content="[" * 100_000 + r'"\u0000"', headers=headers)).status_code == 400
    assert (await client.post("/raw", content=r'{"name": "\u0000"}', headers=headers)).status_code == 200


def test_a_subject_that_cannot_be_kept_takes_no_other_record_with_it() -> None:
    assert "\x00" not in subject("acme", {"ref": "a\x00b"}) + subject("acme", {"ref": "email:a\x00b"})


@pytest.mark.parametrize(
    "body",
    [
        r'{"name": "a\u0000"}'.encode("utf-16-le"),
        r'{"more": {"list": ["\ud800"]}}'.encode("utf-32-be"),
        '{"more": {"half": "\ud800"}}'.encode(errors="surrogatepass"),
    ],
)
async def test_no_encoding_that_json_has_hides_it(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/notes/a", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
