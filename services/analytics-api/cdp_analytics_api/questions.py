"""What analysts ask: the bodies of the analytics endpoints, checked."""

from datetime import date
from math import isfinite
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from cdp_runtime.envelope import Wire

Operator = Literal["=", "!=", ">", ">=", "<", "<=", "contains", "in", "not_in", "exists"]
Order = Literal["ordered", "strict"]
Scalar = Annotated[str, Field(max_length=1000)] | bool | int | float
MAX_STEPS: Final = 16
MOST_WEEKS: Final = 52  # a bit each in one number of 64
_ORDERINGS: Final = {">", ">=", "<", "<="}


def _is_double(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:
        return False


class PropertyFilter(Wire):
    """One condition on an event's properties; ``a.b`` reaches into nested objects.

    ``!=`` and ``not_in`` also hold when the property is missing or null, every other operator needs it (``exists`` says
    so).
    """

    path: str = Field(alias="property", min_length=1, max_length=200, examples=["path"])
    operator: Operator = "="
    value: Scalar | list[Scalar] | None = Field(None, examples=["/checkout"])

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.path.removeprefix("properties.").split("."))

    @property
    def operands(self) -> list[Scalar]:
        """The values to compare with; one, but for ``in`` and ``not_in``."""
        if self.value is None:
            return []
        return self.value if isinstance(self.value, list) else [self.value]

    @model_validator(mode="after")
    def _value_fits(self) -> "PropertyFilter":
        if self.operator in ("in", "not_in"):
            if not isinstance(self.value, list) or not 1 <= len(self.value) <= 1000:
                raise ValueError(f"{self.operator} needs a list of 1 to 1000 values")
        elif self.operator == "exists":
            if self.value is not None and not isinstance(self.value, bool):
                raise ValueError("exists needs true or false")
        elif self.value is None or isinstance(self.value, list):
            raise ValueError(f"{self.operator} needs one value")
        if any(isinstance(operand, int | float) and not _is_double(operand) for operand in self.operands):
            raise ValueError("a number must be finite and fit 64 bits of floating point")
        if self.operator in _ORDERINGS and isinstance(self.value, bool):
            raise ValueError(f"{self.operator} needs a number or a text")
        if self.operator == "contains" and not isinstance(self.value, str):
            raise ValueError("contains needs a text")
        return self


class FunnelStep(Wire):
    """One step: an event name or one of the types (``page_view``, ``purchase``, ...), narrowed by conditions."""

    event: str = Field(min_length=1, max_length=200, examples=["product_view"])
    name: str | None = Field(None, max_length=200, description="how the answer calls this step; else its event")
    filters: list[PropertyFilter] = Field(default=[], max_length=20, description="all of them must hold")


class FunnelQuestion(Wire):
    """How many profiles take the steps one after the other, and how long they need."""

    name: str | None = Field(None, max_length=200)
    steps: list[FunnelStep] = Field(min_length=2, max_length=MAX_STEPS)
    start_date: str | None = Field(None, description="first day or moment; without it 30 days before endDate")
    end_date: str | None = Field(None, description="last day or moment, included; without it now")
    time_window: str | int | float = Field(
        86_400, description="from the first step to the last: an ISO 8601 duration or a number of seconds"
    )
    order: Order = Field("ordered", description="ordered allows other events between two steps, strict allows none")
    breakdown: str | None = Field(
        None,
        max_length=200,
        description="a property of the first step's event; each profile counts for its first entry",
    )
    time_to_convert: bool = Field(True, description="false leaves the times out and answers faster")

    @field_validator("breakdown")
    @classmethod
    def _breakdown_is_named(cls, value: str | None) -> str | None:
        if value is not None and not value.removeprefix("properties."):
            raise ValueError("breakdown needs the name of a property")
        return value


class CohortQuestion(Wire):
    """How many of the profiles that came in a week were there again one, two, ... weeks later."""

    start_event: str | None = Field(
        None, min_length=1, max_length=200, description="what coming is; any event if left out", examples=["signup"]
    )
    return_event: str | None = Field(
        None, min_length=1, max_length=200, description="what being there again is; any event if left out"
    )
    start_date: date | None = Field(
        None,
        ge=date(1970, 1, 1),
        le=date(2038, 1, 1),
        description="first day of the first week; else the weeks end today",
    )
    weeks: int = Field(8, ge=1, le=MOST_WEEKS, description="weeks of seven UTC days")
