"""The client of mcp-use, which calls three tools and prints what they returned: PROGRAM SERVER AGENT."""

import asyncio
import json
import sys

from mcp_use import MCPClient

server, agent = json.loads(sys.argv[1]), sys.argv[2]


async def main() -> None:
    client = MCPClient.from_dict({"mcpServers": {"a2a": server}})
    session = await client.create_session("a2a")
    await session.list_tools()
    found = await session.call_tool("discover", {})
    sent = await session.call_tool("send_task", {"agent": agent, "message": "hello", "wait_seconds": 30})
    status = await session.call_tool(
        "get_task_status", {"task_id": sent.structuredContent["task_id"], "wait_seconds": 30}
    )
    await client.close_all_sessions()
    said = ["\n".join(block.text for block in result.content) for result in (found, sent, status)]
    print(json.dumps({"said": said}))


asyncio.run(main())
