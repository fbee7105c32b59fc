"""Files in PEM -> whom clients of Kafka trust and who they are; a file that will not do says why."""

import ssl


def trusting(ca_file: str) -> ssl.SSLContext:
    """Checks certificates and the names of hosts, against this file or what the system trusts. Raises ValueError."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ValueError(f"cannot be read as certificates in PEM ({_reason(error)})") from error


def show_certificate(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Lets brokers see who the client is. Raises ValueError."""
    try:
        # an empty password, or OpenSSL would ask the terminal for one
        context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:
        raise ValueError(
            f"cannot be read as the key of that certificate, in PEM and without a passphrase ({_reason(error)})"
        ) from error


def _reason(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error)
