"""What the demo asks of the front door: segments and an audience by name, profiles, sizes, deliveries."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

HIGH_VALUE = {
    "name": "High value",
    "description": "Spent more than 200 dollars",
    "type": "rule-based",
    "rules": {"operator": "AND", "conditions": [{"field": "computed.ltv", "operator": ">", "value": 200}]},
}
ABANDONED_CART = {
    "name": "Abandoned cart",
    "description": "Put something into the cart within the last hour and bought nothing since",
    "type": "behavioral",
    "rules": {
        "operator": "AND",
        "conditions": [
            {"event": "add_to_cart", "count": {"min": 1}, "window": "PT1H"},
            {"operator": "NOT", "conditions": [{"event": "purchase", "count": {"min": 1}, "window": "PT1H"}]},
        ],
    },
}


class NotInTime(Exception):
    """Something did not come about before its deadline; the text says what and what was seen last."""


class FrontDoor:
    """A client of the HTTP API with one token."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def get(self, path: str, **query: Any) -> Any:
        """The ``data`` of an answer. Raises httpx.HTTPStatusError."""
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()["data"]

    def post(self, path: str, body: Any) -> Any:
        answer = self._http.post(path, json=body)
        if answer.is_error:
            raise RuntimeError(f"POST {path} was answered {answer.status_code}: {answer.text}")
        return answer.json()["data"]

    def ensure(self, path: str, body: dict[str, Any]) -> Any:
        """The object of that name, created when it is not there."""
        listed = self.get(path)
        items = listed if isinstance(listed, list) else listed["items"]
        found = [item for item in items if item["name"] == body["name"]]
        return found[0] if found else self.post(path, body)

    def find_profile(self, ref: str) -> Any:
        """The profile, or None while it does not exist."""
        answer = self._http.get(f"/profiles/{ref}")
        return answer.json()["data"] if answer.is_success else None

    def until(self, what: str, ask: Callable[[], T], good: Callable[[T], bool], seconds: float = 60) -> T:
        """Asks until the answer is good. Raises NotInTime with the last answer."""
        deadline = time.monotonic() + seconds
        last: Any = None
        while time.monotonic() < deadline:
            try:
                value = ask()
                if good(value):
                    return value
                last = value
            except (httpx.HTTPError, KeyError) as error:
                last = error
            time.sleep(0.25)
        raise NotInTime(f"{what} did not happen within {seconds:.0f} s; the last answer was: {last}")
