// What openai-node makes of the gateway: `node openai_node.mjs BASE_URL NAME KEYS` prints it as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The client lies in a folder of its own, outside the repository.
const require = createRequire(`${process.env.CLIENT_FOLDER}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { default: OpenAI } = await load("openai");
const { zodResponseFormat } = await load("openai/helpers/zod");
const { VERSION } = await load("openai/version");
const { z } = await load("zod");

const [baseURL, name, keys] = process.argv.slice(2);
const KEYS = JSON.parse(keys);
const MODEL = "acme/full";
const client = new OpenAI({
  baseURL, apiKey: KEYS.clients, maxRetries: 0, timeout: 30_000, defaultHeaders: { "X-Client": name },
});
const messages = (content) => [{ role: "user", content }];
const here = { headers: { "X-Tomoul-Region": "eu-west" } };
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

async function completion() {
  const { data, response } = await client.chat.completions
    .create({ model: MODEL, messages: messages("answer") }, here).withResponse();
  return {
    text: data.choices[0].message.content,
    refusal: data.choices[0].message.refusal,
    finish_reason: data.choices[0].finish_reason,
    model: data.model,
    id: data.id,
    tokens: data.usage?.total_tokens ?? null,
    region: response.headers.get("x-tomoul-region"),
    request_id: response.headers.get("x-request-id"),
  };
}

async function streamed(more = {}) {
  const chunks = [];
  for await (const chunk of await client.chat.completions.create({
    model: MODEL, messages: messages("answer"), stream: true, ...more,
  })) chunks.push(chunk);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  return {
    text: choices.map((choice) => choice.delta.content ?? "").join(""),
    finish_reason: choices.at(-1).finish_reason,
    ids: [...new Set(chunks.map((chunk) => chunk.id))],
    models: [...new Set(chunks.map((chunk) => chunk.model))],
    tokens: chunks.filter((chunk) => chunk.usage).map((chunk) => chunk.usage.total_tokens),
  };
}

function called(answer) {
  const [call] = answer.choices[0].message.tool_calls;
  return { name: call.function.name, arguments: JSON.parse(call.function.arguments) };
}

const request = { model: MODEL, messages: messages("answer"), tools: [weather] };
const tools = async () => called(await client.chat.completions.create(request));
const toolsStreamed = async () => called(await client.chat.completions.stream(request).finalChatCompletion());

async function parsed() {
  const city = z.object({ city: z.string(), capital: z.boolean() });
  const answer = await client.chat.completions.parse({
    model: MODEL, messages: messages("answer"), response_format: zodResponseFormat(city, "city"),
  });
  return answer.choices[0].message.parsed;
}

async function models() {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  return { listed, one: (await client.models.retrieve(MODEL)).id };
}

async function error({ model = MODEL, text = "answer", headers = {}, ...more } = {}) {
  try {
    const answer = await client.chat.completions.create({ model, messages: messages(text), ...more }, { headers });
    if (more.stream) for await (const _ of answer);
  } catch (caught) {
    const kind = caught.constructor.name;
    if (caught.status === undefined) return { class: kind, code: caught.code ?? null };
    const { status, code, type, param } = caught;
    return { class: kind, status, code, type, param, request_id: Boolean(caught.requestID) };
  }
  return null;
}

async function retried(text, model = MODEL) {
  const started = performance.now();
  let outcome;
  try {
    const options = { ...here, maxRetries: 2 };
    const answer = await client.chat.completions.create({ model, messages: messages(text) }, options);
    outcome = answer.choices[0].message.content;
  } catch (caught) {
    outcome = caught.code;
  }
  return { outcome, seconds: (performance.now() - started) / 1000 };
}

const CASES = {
  "unknown model": { model: "acme/none" },
  "model elsewhere": { model: "acme/us-only", ...here },
  "unknown region": { headers: { "X-Tomoul-Region": "mars" } },
  "tools of a model without": { model: "acme/both", tools: [weather] },
  "no JSON": { headers: { "Content-Type": "text/plain" } },
  "unknown key": { headers: { Authorization: "Bearer sk-nobody" } },
  "key for elsewhere": { headers: { Authorization: `Bearer ${KEYS.confined}`, "X-Tomoul-Region": "eu-west" } },
  "key over its limit": { headers: { Authorization: `Bearer ${KEYS.spent}` } },
  "too large": { text: "x".repeat(3_000_000) },
  "401": { text: "fail 401" },
  "403": { text: "fail 403" },
  "422": { text: "fail 422" },
  "429": { text: "fail 429" },
  "500": { text: "fail 500" },
  "no capacity": { model: "acme/empty" },
  "engine gone": { text: "cut" },
  "engine gone in a stream": { text: "cut", stream: true },
  "engine cut in mid-stream": { text: "cut later", stream: true },
  "engine stopped in mid-stream": { text: "stop later", stream: true },
  "too slow": { model: "acme/quick", text: "sleep" },
};
const errors = {};
for (const [case_, fields] of Object.entries(CASES)) errors[case_] = await error(fields);

console.log(JSON.stringify({
  version: VERSION,
  completion: await completion(),
  stream: await streamed(),
  "stream with usage": await streamed({ stream_options: { include_usage: true } }),
  tools: await tools(),
  "tools in a stream": await toolsStreamed(),
  parse: await parsed(),
  models: await models(),
  errors,
  retries: {
    busy: await retried("busy"),
    limited: await retried("limited"),
    "too slow": await retried("sleep patiently", "acme/quick"),
  },
}));
