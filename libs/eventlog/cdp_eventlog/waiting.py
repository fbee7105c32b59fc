"""An event, and how long at most -> whether it was set by then."""

import asyncio


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Unlike ``asyncio.wait_for``, which loses a cancellation that comes as the event is set (until Python 3.12)."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()
