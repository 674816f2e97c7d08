// @a2a-js/sdk 1.x as a client of the agent at a URL: prints what it saw over each binding, as JSON.
import { randomUUID } from 'node:crypto';
import { Role, Task, StreamResponse, SendMessageResponse } from '@a2a-js/sdk';
import { ClientFactory, ClientFactoryOptions } from '@a2a-js/sdk/client';

const text = (words) => ({ content: { $case: 'text', value: words }, metadata: undefined, filename: '', mediaType: '' });
const asked = (words, more = {}, parts = [], configuration = undefined) => ({
  tenant: '', metadata: undefined, configuration,
  message: {
    messageId: randomUUID(), role: Role.ROLE_USER, parts: [text(words), ...parts], taskId: '', contextId: '',
    extensions: [], referenceTaskIds: [], metadata: undefined, ...more,
  },
});
const plain = (value) => ('status' in value && 'id' in value ? Task.toJSON(value) : value);

async function observe(url, binding) {
  const factory = new ClientFactory(ClientFactoryOptions.createFrom(ClientFactoryOptions.default, {
    preferredTransports: [binding],
  }));
  const client = await factory.createFromUrl(url);
  const seen = {};
  seen.hello = plain(await client.sendMessage(asked('hello')));
  seen.stream = [];
  for await (const event of client.sendMessageStream(asked('stream'))) seen.stream.push(StreamResponse.toJSON(event));
  seen.fail = plain(await client.sendMessage(asked('fail')));
  const file = {
    content: { $case: 'raw', value: Buffer.from([0, 1, 98, 105, 110]) }, filename: 'b.bin',
    mediaType: 'application/octet-stream', metadata: undefined,
  };
  seen.mirror = plain(await client.sendMessage(asked('mirror', {}, [file])));
  seen.ask = plain(await client.sendMessage(asked('ask')));
  const { id: taskId, contextId } = seen.ask;
  seen.replied = [];
  for await (const event of client.sendMessageStream(asked('blue', { taskId, contextId }))) {
    seen.replied.push(StreamResponse.toJSON(event));
  }
  const atOnce = {
    acceptedOutputModes: [], returnImmediately: true, historyLength: undefined, taskPushNotificationConfig: undefined,
  };
  const waiting = plain(await client.sendMessage(asked('wait', {}, [], atOnce)));
  seen.canceled = plain(await client.cancelTask({ id: waiting.id, tenant: '', metadata: undefined }));
  return seen;
}

const [url, ...bindings] = process.argv.slice(2);
const all = {};
for (const binding of bindings) all[binding] = await observe(url.replace(/\/$/, ''), binding);
console.log(JSON.stringify(all));
