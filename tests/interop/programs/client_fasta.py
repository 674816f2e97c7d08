"""fasta2a 0.6 as a client of the agent at a URL: prints the tasks that it read, as JSON."""

import asyncio
import base64
import json
import sys

import httpx
from fasta2a.client import A2AClient


async def observe(url):
    async with httpx.AsyncClient(timeout=30) as http:
        client, seen = A2AClient(url, http), {}

        async def ask(name, *parts, **more):
            message = {"role": "user", "kind": "message", "message_id": f"m-{name}", "parts": list(parts), **more}
            task = (await client.send_message(message))["result"]
            while task["status"]["state"] in ("submitted", "working"):
                await asyncio.sleep(0.05)
                task = (await client.get_task(task["id"]))["result"]
            seen[name] = task
            return task

        def text(words):
            return {"kind": "text", "text": words}

        await ask("hello", text("hello"))
        await ask("stream", text("stream"))
        await ask("fail", text("fail"))
        content = base64.b64encode(b"\x00\x01binary").decode()
        file = {"kind": "file", "file": {"bytes": content, "name": "b.bin", "mime_type": "application/octet-stream"}}
        await ask("mirror", text("mirror"), file)
        asked = await ask("ask", text("ask"))
        await ask("reply", text("blue"), task_id=asked["id"], context_id=asked["context_id"])
    return seen


print(json.dumps(asyncio.run(observe(sys.argv[1])), default=str))
