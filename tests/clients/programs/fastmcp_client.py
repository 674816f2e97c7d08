"""The client of fastmcp, which calls three tools and prints what they returned: PROGRAM SERVER AGENT."""

import asyncio
import json
import sys

from fastmcp import Client

server, agent = json.loads(sys.argv[1]), sys.argv[2]
told = {"transport": "http", **server} if "url" in server else server


async def main() -> None:
    async with Client({"mcpServers": {"a2a": told}}) as client:
        await client.list_tools()
        found = await client.call_tool("discover", {})
        sent = await client.call_tool("send_task", {"agent": agent, "message": "hello", "wait_seconds": 30})
        task = sent.data["task_id"]
        status = await client.call_tool("get_task_status", {"task_id": task, "wait_seconds": 30})
    said = ["\n".join(block.text for block in result.content) for result in (found, sent, status)]
    print(json.dumps({"said": said}))


asyncio.run(main())
