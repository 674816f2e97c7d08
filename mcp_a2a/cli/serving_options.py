"""The options of whatever serves HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

A2AListen = Annotated[
    str | None, typer.Option(metavar="[HOST]:PORT", help="Serve A2A over HTTP; without HOST for this machine only.")
]
PublicUrl = Annotated[
    list[str] | None, typer.Option(metavar="URL", help="URL of a proxy or tunnel in front of this server. Repeatable.")
]
CardStyle = Annotated[str, typer.Option(metavar="v1|dual", help="Agent cards for A2A 1.0 only, or for 0.3 too")]
TlsCert = Annotated[Path | None, typer.Option(metavar="FILE", help="TLS certificate, for https.")]
TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", help="Key of the certificate, if it is in another file.")]
BehindProxy = Annotated[bool, typer.Option("--behind-proxy", help="A proxy in front of this server does TLS.")]
GrpcListen = Annotated[
    str | None, typer.Option(metavar="[HOST]:PORT", help="Also serve A2A over gRPC (needs the extra grpc).")
]
Push = Annotated[bool, typer.Option("--a2a-push", help="Send push notifications to URLs that A2A clients register.")]
PushLocal = Annotated[
    bool,
    typer.Option("--a2a-push-local", help="Also to this machine and private networks (loopback servers only)."),
]
GrpcInCard = Annotated[
    bool, typer.Option("--grpc-in-card", help="List gRPC in the agent card; some clients refuse it.")
]
AskToken = Annotated[bool, typer.Option("--token", help="Require the token from your own programs too.")]
ShowToken = Annotated[bool, typer.Option("--show-token", help="Print the token (on a terminal only).")]
AllowStrangers = Annotated[
    bool,
    typer.Option("--allow-strangers", help="Send to strangers without asking you. Variable: MCP_A2A_ALLOW_STRANGERS."),
]
