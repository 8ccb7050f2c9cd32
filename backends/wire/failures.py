"""What errors of ``aiohttp`` and of the system mean for a call."""

from __future__ import annotations

import errno
import os
from typing import Final
from urllib.parse import urlsplit

from ..errors import BackendError
from ..phases import CallClock
from .untrusted import Gate
from .values import Unreadable

_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL))
"""What the system says when this process, or this machine, has no room for another socket: no server is to blame."""


def connection_failure(error: Exception, clock: CallClock, base_url: str) -> BackendError:
    """What an error of ``aiohttp`` or of the system means for a call."""
    import aiohttp

    where = urlsplit(base_url).netloc
    match error:
        case aiohttp.ClientConnectorDNSError():
            what = "server" if error.host == urlsplit(base_url).hostname else "proxy on the way to"
            return clock.error(f"the name of the {what} `{where}` is not known", "timeout.connect")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return clock.error(
                f"no secure connection to `{where}`: {_tls_reason(error.__cause__)}",
                "bad_response",
                help="check the address (http or https?) and the server's certificate",
            )
        case aiohttp.ClientHttpProxyError():
            return clock.error(
                f"the proxy on the way to `{where}` refused with {error.status}",
                "unauthorized" if error.status in (401, 403, 407) else "timeout.connect",
                help="see `proxy` of this backend; one that asks for a password is not supported",
            )
        case aiohttp.ClientProxyConnectionError():
            return clock.error(
                f"no connection to the proxy on the way to `{where}`",
                "timeout.connect",
                help="see `proxy` of this backend",
            )
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            if number in _NO_ROOM:
                return clock.error(
                    f"this process cannot open another connection: {os.strerror(number).lower()}",
                    "timeout.queue",
                    help="raise its limit of open files (`ulimit -n`), or make fewer calls at once",
                )
            reason = os.strerror(number) if number else type(error.os_error).__name__
            return clock.error(
                f"no connection to `{where}`: {reason.lower()}",
                "timeout.connect",
                help=f"is the server running? nothing was sent to {base_url}",
            )
        case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
            return clock.error(
                f"`{where}` closed the connection before its answer was whole", "broken_stream"
            )
        case _:
            return clock.error(
                f"`{where}` did not answer in HTTP",
                "bad_response",
                help="check the address: http or https?",
            )


def unreadable(error: Unreadable, clock: CallClock, gate: Gate) -> BackendError:
    """The failure of a call whose answer came, and is not what it should be.

    ``error`` holds no more of the server's words than the failure does afterwards: collectors of errors show both.
    """
    said = gate.message(str(error))
    error.args = (said,)
    return clock.error(f"the answer of `{clock.who}` cannot be read: {said}", "bad_response")


class Readable:
    """Fails a call with ``unreadable`` where the block raises Unreadable; a generator would take four times as long."""

    __slots__ = ("_clock", "_gate")

    def __init__(self, clock: CallClock, gate: Gate) -> None:
        self._clock, self._gate = clock, gate

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Unreadable):
            raise unreadable(error, self._clock, self._gate) from error


def is_unsent(error: Exception) -> bool:
    """Whether a kept connection turned out closed before a byte was written to it.

    The call has not happened then, and takes another connection; each time, one leaves the pool. Whatever fails
    later is a failure of the call.
    """
    import aiohttp

    return any(
        isinstance(link, aiohttp.ClientConnectionResetError) and "closing transport" in str(link)
        for link in (error, error.__cause__)
    )


def _tls_reason(cause: BaseException | None) -> str:
    """In the words of the TLS library: what is wrong with the certificate, else with the handshake."""
    said = getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or "the handshake failed"
    return str(said).replace("_", " ").lower()
