"""What the demo asks of the front door: segments and an audience by name, profiles, sizes, deliveries."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from cdp_devstack.errors import StackError

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


class FrontDoor:
    """A client of the HTTP API with one token. Every call raises StackError."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def get(self, path: str) -> Any:
        """The ``data`` of an answer."""
        return self._good("GET", path).json()["data"]

    def post(self, path: str, body: Any) -> Any:
        return self._good("POST", path, json=body).json()["data"]

    def ensure(self, path: str, body: dict[str, Any]) -> Any:
        """The object of that name, created when it is not there."""
        listed = self.get(path)
        items = listed if isinstance(listed, list) else listed["items"]
        found = [item for item in items if item["name"] == body["name"]]
        return found[0] if found else self.post(path, body)

    def find_profile(self, ref: str) -> Any:
        """The profile, or None while it does not exist."""
        answer = self._asked("GET", f"/profiles/{ref}")
        return answer.json()["data"] if answer.is_success else None

    def until(self, what: str, ask: Callable[[], T], good: Callable[[T], bool], seconds: float = 60) -> T:
        """Asks until the answer is good. Raises StackError with the last answer."""
        deadline = time.monotonic() + seconds
        last: Any = None
        while time.monotonic() < deadline:
            try:
                value = ask()
                if good(value):
                    return value
                last = value
            except (StackError, KeyError) as error:
                last = error
            time.sleep(0.25)
        raise StackError(f"{what} did not happen within {seconds:.0f} s; the last answer was: {last}")

    def _good(self, method: str, path: str, **how: Any) -> httpx.Response:
        answer = self._asked(method, path, **how)
        if answer.is_error:
            raise StackError(f"{method} {self._url}{path} was answered {answer.status_code}: {answer.text}")
        return answer

    def _asked(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **how)
        except httpx.TransportError as error:
            raise StackError(
                f"The front door at {self._url} does not answer ({error}): start it with `cdp up`, or set CDP_API_PORT."
            ) from error
