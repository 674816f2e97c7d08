// @a2a-js/sdk 1.x as a server: an agent that does what the text of a message says. Prints its URL.
// Words: "streaming" or "polling" (what its card says of streaming).
import { randomUUID } from 'node:crypto';
import express from 'express';
import { Role, TaskState } from '@a2a-js/sdk';
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import { agentCardHandler, jsonRpcHandler, restHandler, UserBuilder } from '@a2a-js/sdk/server/express';

const text = (words) => ({ content: { $case: 'text', value: words }, metadata: undefined, filename: '', mediaType: '' });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Behaving {
  canceled = new Set();

  async execute(context, bus) {
    const { taskId, contextId, userMessage, task } = context;
    const words = userMessage.parts.map((part) => (part.content?.$case === 'text' ? part.content.value : '')).join('');
    const now = () => new Date().toISOString();
    const said = (words) => ({
      messageId: randomUUID(), role: Role.ROLE_AGENT, parts: [text(words)], taskId, contextId,
      extensions: [], referenceTaskIds: [], metadata: undefined,
    });
    const status = (state, words) => ({ state, timestamp: now(), message: words ? said(words) : undefined });
    const move = (state, words) => bus.publish(AgentEvent.statusUpdate({
      taskId, contextId, status: status(state, words), metadata: undefined,
    }));
    const make = (artifactId, parts, append, lastChunk) => bus.publish(AgentEvent.artifactUpdate({
      taskId, contextId, append, lastChunk, metadata: undefined,
      artifact: { artifactId, name: 'result', description: '', parts, extensions: [], metadata: undefined },
    }));
    if (words === 'direct') {
      bus.publish(AgentEvent.message({ ...said('no task here'), taskId: '' }));
      bus.finished();
      return;
    }
    bus.publish(AgentEvent.task(task ?? {
      id: taskId, contextId, status: status(TaskState.TASK_STATE_SUBMITTED), history: [userMessage],
      artifacts: [], metadata: undefined,
    }));
    switch (words) {
      case 'ask':
        move(TaskState.TASK_STATE_INPUT_REQUIRED, 'which?');
        break;
      case 'wait':
        move(TaskState.TASK_STATE_WORKING, 'waiting');
        while (!this.canceled.has(taskId)) await pause(50);
        move(TaskState.TASK_STATE_CANCELED);
        break;
      case 'fail':
        move(TaskState.TASK_STATE_FAILED, 'it broke');
        break;
      case 'stream':
        move(TaskState.TASK_STATE_WORKING);
        for (const [number, piece] of ['one ', 'two ', 'three'].entries()) {
          make('a', [text(piece)], number > 0, number === 2);
          await pause(50);
        }
        move(TaskState.TASK_STATE_COMPLETED);
        break;
      case 'mirror':
        make('a', userMessage.parts.filter((part) => part.content?.$case !== 'text'), false, true);
        move(TaskState.TASK_STATE_COMPLETED);
        break;
      default:
        await pause(task ? 1500 : 0); // what is asked meanwhile sees the question, still
        make('a', [text(words.toUpperCase())], false, true);
        move(TaskState.TASK_STATE_COMPLETED);
    }
    bus.finished();
  }

  cancelTask = async (taskId) => { this.canceled.add(taskId); };
}

const app = express();
const server = app.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const agentCard = {
    name: 'js-agent', description: 'Does what it is told', version: '1',
    supportedInterfaces: [{ url, protocolBinding: 'JSONRPC', tenant: '', protocolVersion: '1.0' }],
    provider: undefined, documentationUrl: '', iconUrl: '',
    capabilities: { streaming: process.argv[2] === 'streaming', pushNotifications: false, extensions: [] },
    securitySchemes: {}, securityRequirements: [], signatures: [],
    defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
    skills: [{
      id: 'behave', name: 'Behave', description: 'Does what it is told', tags: ['test'],
      examples: [], inputModes: [], outputModes: [], securityRequirements: [],
    }],
  };
  const requestHandler = new DefaultRequestHandler(agentCard, new InMemoryTaskStore(), new Behaving());
  app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler }));
  app.use('/', jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  console.log(url);
});
