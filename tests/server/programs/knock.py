"""Another program of this machine: sends requests as they stand on its stdin, and prints what came back.

Started with another user's rights by `setpriv`. It needs the standard library, and `grpc` for calls by gRPC.
"""

from __future__ import annotations

import http.client
import json
import sys


def over_http(url: str, method: str, path: str, headers: dict[str, str], body: str | None) -> list[object]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return [answer.status, text]


def by_grpc(target: str, metadata: dict[str, str]) -> list[object]:
    import grpc  # noqa: PLC0415  only where it is there
    from a2a.types import a2a_pb2 as pb  # noqa: PLC0415
    from a2a.types.a2a_pb2_grpc import A2AServiceStub  # noqa: PLC0415

    with grpc.insecure_channel(target) as channel:
        try:
            A2AServiceStub(channel).ListTasks(
                pb.ListTasksRequest(), metadata=[("a2a-version", "1.0"), *metadata.items()], timeout=20
            )
        except grpc.RpcError as error:
            return [error.code().name, error.details()]
    return ["OK", ""]


def main() -> None:
    answers = []
    for kind, *asked in json.load(sys.stdin):
        answers.append(over_http(*asked) if kind == "http" else by_grpc(*asked))
    json.dump(answers, sys.stdout)


main()
