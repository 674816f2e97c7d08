// A client made with an SDK of MCP's own, which calls three tools and prints what they returned.
// javascript.mjs SDK {"url" | "command", "args", "env"} AGENT
//   SDK: v1, v2 (as it is without a word about eras), v2-legacy, v2-auto

const [sdk, place, agent] = process.argv.slice(2);
const server = JSON.parse(place);

async function ofVersion1() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  return { client: new Client({ name: sdk, version: "1" }), StdioClientTransport, StreamableHTTPClientTransport };
}

async function ofVersion2() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const mode = sdk.split("-")[1];
  const options = mode ? { versionNegotiation: { mode } } : {};
  return { client: new Client({ name: sdk, version: "1" }, options), StdioClientTransport, StreamableHTTPClientTransport };
}

const { client, StdioClientTransport, StreamableHTTPClientTransport } = await (sdk === "v1" ? ofVersion1() : ofVersion2());
let era;
const transport = server.url
  ? new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers: server.headers ?? {} } })
  : new StdioClientTransport({ ...server, stderr: "ignore" });
await client.connect(transport);
era = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;

const said = [];
async function call(name, args) {
  const result = await client.callTool({ name, arguments: args });
  if (result.isError) throw new Error(JSON.stringify(result));
  said.push(result.content.map((block) => block.text).join("\n"));
  return result.structuredContent;
}
await client.listTools(); // after which the client checks structured content against the schemas
await call("discover", {});
const task = await call("send_task", { agent, message: "hello", wait_seconds: 30 });
await call("get_task_status", { task_id: task.task_id, wait_seconds: 30 });
await client.close();
console.log(JSON.stringify({ era, said }));
