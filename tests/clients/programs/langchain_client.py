"""Our tools as those of LangChain, called as its agents call them: PROGRAM SERVER AGENT."""

import asyncio
import json
import re
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

server, agent = json.loads(sys.argv[1]), sys.argv[2]
told = {"transport": "streamable_http", **server} if "url" in server else {"transport": "stdio", **server}


async def main() -> None:
    client = MultiServerMCPClient({"a2a": told})
    said = []
    async with client.session("a2a") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name: str, arguments: dict[str, object]) -> str:
            made = {"type": "tool_call", "id": name, "name": name, "args": arguments}
            message = await tools[name].ainvoke(made)
            assert message.status == "success", message
            said.append(message.text if isinstance(message.text, str) else message.text())
            return said[-1]

        await call("discover", {})
        sent = await call("send_task", {"agent": agent, "message": "hello", "wait_seconds": 30})
        (task,) = set(re.findall(r"task-[a-z2-7]{24}", sent))
        await call("get_task_status", {"task_id": task, "wait_seconds": 30})
    print(json.dumps({"said": said}))


asyncio.run(main())
