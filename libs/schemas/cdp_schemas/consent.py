"""What an event's context says about consent -> purpose -> allowed; the one reading of every stage."""

from typing import Any, Final

# of one node, and of one profile
PURPOSES_KEPT: Final = 200
PURPOSE_NAME: Final = 128  # characters


def preferences(context: Any, management: Any) -> dict[str, bool]:
    """``context.consent.categoryPreferences`` and RudderStack's ``context.consentManagement`` -> purpose -> allowed.

    A purpose that is both allowed and denied is denied.
    """
    found: dict[str, bool] = {}
    categories = context.get("categoryPreferences") if isinstance(context, dict) else None
    for purpose, allowed in categories.items() if isinstance(categories, dict) else ():
        if isinstance(allowed, bool):
            found[purpose] = allowed
    if isinstance(management, dict):
        found |= dict.fromkeys(_names(management.get("allowedConsentIds")), True)
        found |= dict.fromkeys(_names(management.get("deniedConsentIds")), False)
    return {purpose: allowed for purpose, allowed in found.items() if 0 < len(purpose) <= PURPOSE_NAME}


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
