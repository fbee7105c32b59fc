"""Brokers that would not have a client -> why, in one sentence, without what it logged in with."""

import asyncio
import ssl
from typing import Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from cdp_eventlog.brokers import Brokers

_SECONDS: Final = 2.0  # whoever refuses does it at once


async def diagnose(brokers: Brokers, error: BaseException) -> str:
    """aiokafka tells its log why it could not connect, and its caller only that it could not: so this asks again."""
    if isinstance(error, KafkaConnectionError):
        error = await _refused(brokers) or error
    return _sentence(brokers, error)


async def refusal(brokers: Brokers) -> str | None:
    """Why a client would not come in now; None when it would."""
    error = await _refused(brokers)
    return _sentence(brokers, error) if error else None


async def _refused(brokers: Brokers) -> BaseException | None:
    """What the first server says that answers at all, or else the last that does not."""
    refused: BaseException | None = None
    try:
        async with asyncio.timeout(_SECONDS):
            for host, port, _ in collect_hosts(brokers.servers):
                try:
                    await _ask(host, port, brokers)
                    return None
                except (KafkaError, OSError) as error:
                    refused = error
                    if isinstance(error, KafkaError | ssl.SSLError | ConnectionResetError):
                        break
    except TimeoutError as error:
        return refused or error
    return refused


async def _ask(host: str, port: int, brokers: Brokers) -> None:
    try:
        connection = await create_conn(host, port, **brokers.security())
        try:
            # without a login, the first request that needs one is where a broker hangs up
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    except KafkaConnectionError as error:
        raise error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else ConnectionResetError() from error


def _sentence(brokers: Brokers, error: BaseException) -> str:
    return f"Kafka at {brokers} {_predicate(brokers, error)}"


def _predicate(brokers: Brokers, error: BaseException) -> str:
    match error:
        case SaslAuthenticationFailed():
            return "refuses the user name or password"
        case UnsupportedSaslMechanismError():
            return f"does not offer the SASL mechanism {brokers.login and brokers.login.mechanism}"
        case IllegalSaslStateError():
            return f"takes no login at this port: does it speak {brokers.protocol}?"
        case TopicAuthorizationFailedError() | GroupAuthorizationFailedError() | ClusterAuthorizationFailedError():
            return f"does not allow it: {error}"
        case BrokerResponseError():
            return f"answers: {error}"
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not to be trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"refuses the client's TLS or certificate: {error.reason or error}"
        case ConnectionResetError():
            return f"closes the connection: does its port speak {brokers.protocol}?"
    return f"does not answer: {str(error) or type(error).__name__}"
