"""Members -> hashed rows of a Meta custom audience (Marketing API v26.0); Meta's answers -> outcomes. Pure."""

import hmac
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from cdp_activation.destinations import hashing, meta_errors
from cdp_activation.destinations.answers import json_object, reason
from cdp_activation.destinations.destination import (
    Batch,
    CatalogEntry,
    Cells,
    Config,
    HttpRequest,
    HttpResponse,
    SettingField,
)
from cdp_activation.outcome import CallOutcome, Delivered, RejectedRow, RetryLater
from cdp_activation.profile import Profile
from cdp_schemas.profiles import profile_ref

_MATCHING: Final = ("EMAIL", "PHONE", "MADID")
_KEYS: Final = (
    *("EXTERN_ID", "EMAIL", "PHONE", "FN", "LN", "CT", "ST", "ZIP", "COUNTRY"),
    *("MADID", "GEN", "DOBY", "DOBM", "DOBD"),
)
_MADID_KINDS: Final = ("madid", "idfa", "gaid", "ios.idfa", "android.idfa")
_METHODS: Final = {"add": ("POST", "users"), "remove": ("DELETE", "users"), "replace": ("POST", "usersreplace")}
_ENTRY: Final = CatalogEntry(
    type="facebook_custom_audiences",
    name="Facebook Custom Audiences",
    platform="facebook",
    description="Keeps a custom audience of Meta's in step with the segments, by hashed identifiers.",
    settings=(
        SettingField("adAccountId", "Ad account", "text", "act_ and digits", pattern=r"act_\d{1,20}"),
        SettingField("apiVersion", "API version", "text", "such as v26.0", default="v26.0", pattern=r"v\d{1,3}\.\d"),
        SettingField("baseUrl", "API address", "url", "Meta's own", default="https://graph.facebook.com"),
        SettingField("fields", "Keys", "list", "what members are matched by", default=list(_KEYS[:9]), choices=_KEYS),
        SettingField(
            "batchSize", "Members per call", "integer", "1 to 10000", default=10_000, minimum=1, maximum=10_000
        ),
        SettingField("customerConsent", "Consent flag", "boolean", "sent as customer_consent when it is set"),
    ),
    credentials=(
        SettingField("accessToken", "Access token", "secret", "of a system user with ads_management", required=True),
        SettingField("appSecret", "App secret", "secret", "adds appsecret_proof to every call"),
    ),
    audience=(
        SettingField("customAudienceId", "Custom audience", "text", "its number", required=True, pattern=r"\d{1,20}"),
        SettingField("adAccountId", "Ad account", "text", "act_ and digits", pattern=r"act_\d{1,20}"),
    ),
    operations=("add", "remove", "replace"),
    max_rows=10_000,
    requests_per_second=5.0,
    default_purposes=("tracking",),
    replace_window=timedelta(minutes=90),
    api_version="v26.0",
)


class FacebookCustomAudiences:
    """Adding and removing are set operations there, so a call may be repeated whenever its fate is unknown."""

    entry = _ENTRY

    def cells(self, profile: Profile, config: Config) -> Cells | None:
        keys = [key for key in _KEYS if key in config.settings["fields"]]
        known = _known(profile, config.phone_region)
        if not any(known[key] for key in _MATCHING if key in keys):
            return None
        return {key: known[key] for key in keys}

    def match_values(self, cells: Cells) -> Sequence[str]:
        return tuple(cells[key] for key in ("EXTERN_ID", *_MATCHING) if cells.get(key))

    def build(self, batch: Batch, config: Config, now: datetime) -> HttpRequest:
        method, edge = _METHODS[batch.operation]
        schema = list(batch.rows[0].cells)
        body: dict[str, Any] = {
            "payload": {"schema": schema, "data": [[row.cells[key] for key in schema] for row in batch.rows]}
        }
        if batch.session is not None:
            session = batch.session
            body["session"] = {
                "session_id": session.session_id,
                "batch_seq": session.page,
                "last_batch_flag": session.last,
                "estimated_num_total": session.total,
            }
        if isinstance(config.settings.get("customerConsent"), bool):
            body["customer_consent"] = config.settings["customerConsent"]
        url = _url(config, f"{config.audience['customAudienceId']}/{edge}")
        return _request(method, url, config, json.dumps(body, separators=(",", ":")).encode())

    def read(self, response: HttpResponse, batch: Batch, now: datetime) -> CallOutcome:
        answer = json_object(response)
        failure = meta_errors.failure(response, answer, now)
        if failure is not None:
            return CallOutcome(failure)
        if answer is None or "num_received" not in answer:
            return CallOutcome(RetryLater(f"HTTP {response.status} with an answer that is not Meta's"))
        refused = _refused(answer.get("invalid_entry_samples"), batch)
        unnamed = meta_errors.number(answer, "num_invalid_entries") - len(refused)
        warning = f"Meta could not read {unnamed:.0f} of {len(batch.rows)} rows of this call" if unnamed > 0 else ""
        return CallOutcome(Delivered(warning), refused, meta_errors.rest_until(response, now))

    def probe(self, config: Config, now: datetime) -> HttpRequest:
        place = config.audience.get("adAccountId") or config.settings.get("adAccountId") or "me"
        return _request("GET", _url(config, place, fields="id,name"), config)

    def read_probe(self, response: HttpResponse, now: datetime) -> CallOutcome:
        answer = json_object(response)
        failure = meta_errors.failure(response, answer, now)
        if failure is None and (answer is None or "id" not in answer):
            failure = RetryLater(f"HTTP {response.status} with an answer that is not Meta's")
        return CallOutcome(failure or Delivered())


def _known(profile: Profile, region: str) -> dict[str, str]:
    traits = profile.traits
    country = hashing.country(traits.get("country", ""))
    year, month, day = _birthday(traits.get("birthday", ""))
    phone = profile.first("phone", lambda text: hashing.phone_e164(text, region))
    madid = next((value for kind in _MADID_KINDS if (value := profile.first(kind))), "")
    return {
        "EXTERN_ID": profile_ref(profile.profile_id),
        "EMAIL": hashing.hashed(hashing.email(profile.first("email", hashing.email))),
        "PHONE": hashing.hashed(hashing.phone_digits(phone, region)),
        "FN": hashing.hashed(hashing.name(traits.get("firstName", ""))),
        "LN": hashing.hashed(hashing.name(traits.get("lastName", ""))),
        "CT": hashing.hashed(hashing.letters(traits.get("city", ""))),
        "ST": hashing.hashed(hashing.letters(traits.get("state", ""))),
        "ZIP": hashing.hashed(hashing.postal_code(traits.get("postalCode", ""), country)),
        "COUNTRY": hashing.hashed(country),
        "MADID": madid.strip().lower(),
        "GEN": hashing.hashed(_gender(traits.get("gender", ""))),
        "DOBY": hashing.hashed(year),
        "DOBM": hashing.hashed(month),
        "DOBD": hashing.hashed(day),
    }


def _birthday(text: str) -> tuple[str, str, str]:
    try:
        day = datetime.fromisoformat(text).date()
    except ValueError:
        return "", "", ""
    return f"{day:%Y}", f"{day:%m}", f"{day:%d}"


def _gender(text: str) -> str:
    return {"m": "m", "male": "m", "f": "f", "female": "f"}.get(text.strip().lower(), "")


def _url(config: Config, path: str, **query: str) -> str:
    secret = config.credentials.get("appSecret")
    if secret:
        token = config.credentials["accessToken"]
        query["appsecret_proof"] = hmac.new(secret.encode(), token.encode(), sha256).hexdigest()
    base = str(config.settings["baseUrl"]).rstrip("/")
    return f"{base}/{config.settings['apiVersion']}/{path}" + (f"?{urlencode(query)}" if query else "")


def _request(method: str, url: str, config: Config, body: bytes = b"") -> HttpRequest:
    headers = {"authorization": f"Bearer {config.credentials['accessToken']}", "user-agent": "Millrace/1"}
    if body:
        headers["content-type"] = "application/json"
    return HttpRequest(method, url, headers, body, 60.0 if body else 15.0)


def _refused(samples: Any, batch: Batch) -> dict[int, RejectedRow]:
    """Meta names some unreadable entries by one of their values; it never gives a row number."""
    if not isinstance(samples, dict):
        return {}
    return {
        row.index: RejectedRow(f"Meta could not read it: {reason(samples[value], 'it does not say why')}")
        for row in batch.rows
        for value in row.cells.values()
        if value and value in samples
    }
