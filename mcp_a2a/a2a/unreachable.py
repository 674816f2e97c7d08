"""Why a server could not be reached, in words."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import aiohttp

from mcp_a2a.certificates import why_not_accepted
from mcp_a2a.errors.web import WebError
from mcp_a2a.system_limits import why_not_connected


class NotConnectedError(WebError):
    """No connection came about, so nothing was said."""

    code = "not_connected"


_UNCONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, socket.gaierror)


def unreachable(url: str, error: Exception, lost: type[WebError] = WebError) -> WebError:
    """What went wrong before an answer came, in words; `lost` where one came that is no HTTP."""
    host = urlsplit(url).netloc
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = f"its TLS certificate is not accepted ({why_not_accepted(error.certificate_error)})"
        case aiohttp.ClientSSLError():
            why = "it does not speak TLS, or not one that is safe"
        case aiohttp.ClientConnectorError():
            why = why_not_connected(error.os_error, error.host)
        case socket.gaierror():
            why = why_not_connected(error, host)
        case aiohttp.ServerDisconnectedError():
            why = "it closed the connection without an answer"
        case TimeoutError():
            why = "nothing answers there in time"
        case aiohttp.ClientResponseError():
            why = "it does not speak HTTP"
        case _:
            why = "the connection was cut"
    kind = lost if isinstance(error, aiohttp.ClientResponseError) else WebError
    if isinstance(error, _UNCONNECTED):
        kind = NotConnectedError
    return kind(f"{host} could not be reached: {why}.", "Check the address, and that it is running.")
