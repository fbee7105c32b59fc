"""Golden records -> the API's profiles, and what the API takes; camelCase on the wire, money in the major unit."""

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from math import isfinite
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from cdp_runtime.envelope import Wire
from cdp_schemas.consent import PURPOSE_NAME, PURPOSES_KEPT
from cdp_schemas.money import exponent, to_major
from cdp_schemas.profiles import IN_ADDRESS, TRAIT_NAME, TRAITS_TAKEN, ProfileUpdated, Revenue, profile_ref

NAMED_ATTRIBUTES: Final = ("firstName", "lastName", "email", "phone", "country", "city", "tags")
_LISTED: Final = {"anonymous_id": "anonymousIds", "device_id": "deviceIds", "email": "emails", "phone": "phones"}
_SINGLE: Final = {"user_id": "userId", "email": "email", "phone": "phone"}
_PERSONAL: Final = frozenset(
    {"email", "phone", "firstName", "lastName", "name", "address", "birthday", "avatar", "username"}
)
_DEEPEST: Final = 31  # levels: an event, in which these are, may have 32


def storable(said: dict[str, Any]) -> dict[str, Any]:
    """The same, when every store keeps it as it is. Raises ValueError. The front door has looked at its texts."""
    waiting: list[tuple[Any, int]] = [(said, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list):
            if depth > _DEEPEST:
                raise ValueError(f"must not be nested deeper than {_DEEPEST} levels")
            waiting += ((inner, depth + 1) for inner in (value.values() if isinstance(value, dict) else value))
        elif isinstance(value, float) and not isfinite(value):
            raise ValueError("must not have a number that no double holds")
        elif isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise ValueError("must not have an integer beyond 64 bits")
    return said


Said = Annotated[dict[str, Any], AfterValidator(storable)]
Purpose = Annotated[str, Field(min_length=1, max_length=PURPOSE_NAME)]


class Attributes(Wire):
    """A profile's traits: the well-known ones by name, all others under customFields."""

    model_config = ConfigDict(extra="allow")

    email: str | None = None
    phone: str | None = None
    tags: list[Any] = Field(default_factory=list)
    custom_fields: dict[str, Any] = Field(default_factory=dict)


class Computed(Wire):
    """What the order ledger and the events say. Amounts are in ``currency``'s major unit."""

    ltv: float
    aov: float
    purchase_count: int
    currency: str
    ltv_by_currency: dict[str, float]
    first_seen_date: datetime | None
    last_seen_date: datetime | None
    first_purchase_date: datetime | None
    last_purchase_date: datetime | None
    churn_risk: float | None = None
    engagement_score: float | None = None


class Profile(Wire):
    """One profile, as everywhere in the API."""

    id: str
    external_ids: dict[str, Any]
    attributes: Attributes
    computed: Computed
    consent: dict[str, bool | datetime | None]
    segments: list[str] = Field(default_factory=list)
    created_at: datetime | None
    updated_at: datetime


class ProfileBody(Wire):
    """A profile to create or change. Traits may stand at the top, in ``attributes`` or in ``customFields``.

    A trait that is null is removed; what is not named stays as it is.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.org",
                    "firstName": "Ada",
                    "country": "GB",
                    "customFields": {"preferredLanguage": "en"},
                    "consent": {"email": True, "sms": False},
                }
            ]
        }
    )

    user_id: str | None = Field(None, max_length=512)
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    country: str | None = None
    city: str | None = None
    tags: list[str] | None = None
    custom_fields: Said = Field(default_factory=dict)
    attributes: Said = Field(default_factory=dict)
    external_ids: dict[str, str | int | list[str | int]] = Field(default_factory=dict)
    consent: dict[Purpose, bool] = Field(default_factory=dict, max_length=PURPOSES_KEPT)
    computed: Any = Field(None, description="read-only: computed from events")

    @model_validator(mode="after")
    def _only_what_is_taken(self) -> "ProfileBody":
        named = self.traits()
        if len(named) > TRAITS_TAKEN:
            raise ValueError(f"a call sets at most {TRAITS_TAKEN} traits")
        if not all(0 < len(name) <= TRAIT_NAME for name in named):
            raise ValueError(f"the name of a trait has 1 to {TRAIT_NAME} characters")
        return self

    def traits(self) -> dict[str, Any]:
        """Everything in the body that is a trait, by its name."""
        tops = ("email", "phone", "first_name", "last_name", "country", "city", "tags")
        names = {"first_name": "firstName", "last_name": "lastName"}
        found = {names.get(name, name): getattr(self, name) for name in tops if name in self.model_fields_set}
        nested = self.attributes.get("customFields")
        custom = {**(nested if isinstance(nested, dict) else {}), **self.custom_fields}
        plain = {name: value for name, value in self.attributes.items() if name != "customFields"}
        return {**custom, **plain, **found}


def profile_of(record: ProfileUpdated, segments: list[str], *, sees_pii: bool = True) -> Profile:
    """A golden record as the API shows it; without ``sees_pii`` what names a person is masked."""
    profile = Profile(
        id=profile_ref(record.profile_id),
        external_ids=external_ids(record.identifiers),
        attributes=Attributes(**attributes(record)),
        computed=computed(record),
        consent={**record.consent, "updatedAt": record.consent_at},
        segments=segments,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
    return profile if sees_pii else masked(profile)


def external_ids(identifiers: Mapping[str, list[str]]) -> dict[str, Any]:
    """Kind -> value where one is the rule, kinds in the plural -> values where several are."""
    found: dict[str, Any] = {}
    for kind, values in identifiers.items():
        if kind in _SINGLE:
            found[_SINGLE[kind]] = values[0]
        if kind not in _SINGLE or (kind in _LISTED and len(values) > 1):
            found[_LISTED.get(kind, kind)] = values
    return found


def attributes(record: ProfileUpdated) -> dict[str, Any]:
    """The seven traits of every profile by name, all others under customFields."""
    address = record.traits.get("address")
    place = address if isinstance(address, dict) else {}
    known: dict[str, Any] = {
        "email": next(iter(record.identifiers.get("email", ())), None),
        "phone": next(iter(record.identifiers.get("phone", ())), None),
        **{trait: place.get(trait) for trait in IN_ADDRESS},
    }
    known |= {name: record.traits[name] for name in NAMED_ATTRIBUTES if name in record.traits}
    tags = known.get("tags", [])
    known["tags"] = tags if isinstance(tags, list) else [tags]
    for name in ("email", "phone"):
        known[name] = None if known[name] is None else str(known[name])
    custom = {name: value for name, value in record.traits.items() if name not in NAMED_ATTRIBUTES}
    return {name: value for name, value in known.items() if value is not None} | {"custom_fields": custom}


def computed(record: ProfileUpdated) -> Computed:
    revenue = record.revenue
    return Computed(
        ltv=major(revenue.ltv_minor, revenue.currency),
        aov=average_order(revenue),
        purchase_count=revenue.order_count,
        currency=revenue.currency,
        ltv_by_currency={currency: major(minor, currency) for currency, minor in revenue.by_currency.items()},
        first_seen_date=record.first_seen,
        last_seen_date=record.last_seen,
        first_purchase_date=revenue.first_order_at,
        last_purchase_date=revenue.last_order_at,
    )


def average_order(revenue: Revenue) -> float:
    """Net revenue per order, rounded to the currency's minor unit."""
    if not revenue.order_count:
        return 0.0
    unit = Decimal(1).scaleb(-exponent(revenue.currency))
    average = to_major(revenue.ltv_minor, revenue.currency) / revenue.order_count
    return float(average.quantize(unit, rounding=ROUND_HALF_EVEN))


def major(minor: int, currency: str) -> float:
    """An amount as JSON shows it: 13009 USD -> 130.09."""
    return float(to_major(minor, currency))


def masked(profile: Profile) -> Profile:
    """The same profile without what names a person: for tokens without the scope profiles:pii."""
    hidden = _hidden(profile.attributes.model_dump(exclude={"custom_fields"}, exclude_unset=True))
    ids = {
        kind: [mask(one) for one in value] if isinstance(value, list) else mask(value)
        for kind, value in profile.external_ids.items()
    }
    shown = Attributes(**hidden, custom_fields=_hidden(profile.attributes.custom_fields))
    return profile.model_copy(update={"attributes": shown, "external_ids": ids})


def _hidden(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: mask(value) if name in _PERSONAL and value is not None else value for name, value in said.items()}


def mask(value: Any) -> str:
    """The first letter, and an email's domain."""
    text = str(value)
    name, at, domain = text.partition("@")
    return f"{name[:1]}***{at}{domain}" if at else f"{text[:1]}***"


class Pending(Wire):
    """The change is durable in the log, but was not applied yet when the time to wait was over."""

    id: str
    message_id: str
    status: str = "pending"
