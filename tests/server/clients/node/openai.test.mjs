// The package openai for Node.js works unchanged. Run: node openai.test.mjs URL
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "none", maxRetries: 0 });
const model = "demo";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const paris = "The capital of France is Paris.";
const city = {
  type: "object",
  properties: { city: { enum: ["Paris", "Rome"] } },
  required: ["city"],
  additionalProperties: false,
};

test("chat", async () => {
  const answer = await client.chat.completions.create({ model, messages, temperature: 0 });
  assert.equal(answer.choices[0].message.content, paris);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  const again = [...messages, answer.choices[0].message, ...messages];
  assert.ok((await client.chat.completions.create({ model, messages: again })).choices[0].message.content);
});

test("chat, streamed", async () => {
  const stream = client.chat.completions.stream({
    model,
    messages,
    temperature: 0,
    logprobs: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  assert.equal(await stream.finalContent(), paris);
  assert.equal(text, paris);
  assert.ok((await stream.totalUsage()).completion_tokens > 0);
});

test("a stream can be left", async () => {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk");
    break;
  }
});

test("tools, whole and run by the client", async () => {
  const tool = { type: "function", function: { name: "look_up", parameters: city } };
  const options = { model, messages, tools: [tool], tool_choice: "required", parallel_tool_calls: false, seed: 1 };
  const choice = (await client.chat.completions.create(options)).choices[0];
  assert.equal(choice.finish_reason, "tool_calls");
  assert.ok(["Paris", "Rome"].includes(JSON.parse(choice.message.tool_calls[0].function.arguments).city));

  const asked = [];
  const run = { ...tool.function, parse: JSON.parse, function: (given) => asked.push(given.city) && "It is sunny." };
  const named = { type: "function", function: { name: "look_up" } };
  const tools = [{ type: "function", function: run }];
  const runner = client.chat.completions.runTools({ ...options, tools, tool_choice: named, stream: true });
  await runner.done();
  assert.equal(asked.length, 1);
});

test("formats", async () => {
  const response_format = { type: "json_schema", json_schema: { name: "city", schema: city, strict: true } };
  const answer = await client.chat.completions.parse({ model, messages, response_format });
  assert.ok(["Paris", "Rome"].includes(answer.choices[0].message.parsed.city));
});

test("completions", async () => {
  const options = { model, prompt: ["Once", "Hello"], n: 2, max_tokens: 4, logprobs: 2, echo: true };
  assert.equal((await client.completions.create(options)).choices.length, 4);
  let reason = null;
  for await (const chunk of await client.completions.create({ model, prompt: "Once", max_tokens: 4, stream: true })) {
    reason = chunk.choices[0].finish_reason;
  }
  assert.equal(reason, "length");
});

test("responses", async () => {
  const options = { model, input: messages[0].content, temperature: 0 };
  const answer = await client.responses.create(options);
  assert.equal(answer.output_text, paris);
  const input = [...messages, ...answer.output, { role: "user", content: "And of Italy?" }];
  assert.equal((await client.responses.create({ model, input, max_output_tokens: 2 })).status, "incomplete");
  const final = await client.responses.stream(options).finalResponse();
  assert.equal(final.output_text, paris);
});

test("models and errors", async () => {
  const found = [];
  for await (const one of client.models.list()) found.push(one.id);
  assert.deepEqual(found, [model]);
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.chat.completions.create({ model: "gpt-4", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model, messages, n: 0 }), (error) => {
    return error instanceof OpenAI.BadRequestError && error.param === "n";
  });
  await assert.rejects(client.embeddings.create({ model, input: "text" }), /has no embeddings/);
});
