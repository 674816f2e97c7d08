"""The options of whatever serves HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

A2AListen = Annotated[
    str | None, typer.Option(metavar="[HOST]:PORT", help="Serve A2A over HTTP there; without a host on this machine.")
]
PublicUrl = Annotated[
    list[str] | None, typer.Option(metavar="URL", help="A URL of a tunnel or proxy that leads there.")
]
CardStyle = Annotated[str, typer.Option(metavar="v1|dual", help="Agent cards: A2A 1.0 only, or with 0.3's keys.")]
TlsCert = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate, for https.")]
TlsKey = Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, where that is another file.")]
BehindProxy = Annotated[bool, typer.Option("--behind-proxy", help="A proxy speaks TLS for it.")]
GrpcListen = Annotated[
    str | None, typer.Option(metavar="[HOST]:PORT", help="Serve A2A by gRPC there too; needs the extra `grpc`.")
]
Push = Annotated[bool, typer.Option("--a2a-push", help="Post what happens to tasks to URLs that A2A clients name.")]
AskToken = Annotated[bool, typer.Option("--token", help="Ask programs of this user for the token, too.")]
ShowToken = Annotated[bool, typer.Option("--show-token", help="Print the token, on a terminal only.")]
AllowStrangers = Annotated[
    bool, typer.Option("--allow-strangers", help="Send to strangers without asking you (MCP_A2A_ALLOW_STRANGERS).")
]
