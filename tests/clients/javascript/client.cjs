// SPDX-License-Identifier: Apache-2.0
// thawd with AWS' client library for JavaScript: prints a line for each test that did well, and ends with
// the first that did not. THAW_CLIENTS is the folder of the library, the arguments are a ZIP file and the
// qualified name of a function that is ready.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

const installed = createRequire(path.join(process.env.THAW_CLIENTS, "package.json"));
const {
  LambdaClient, CreateFunctionCommand, DeleteFunctionCommand, GetFunctionCommand, InvokeCommand,
  InvokeWithResponseStreamCommand, ListTagsCommand, ResourceNotFoundException, TooManyRequestsException,
  ResourceConflictException, PutFunctionConcurrencyCommand, DeleteFunctionConcurrencyCommand,
  paginateListFunctions, waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2, UpdateFunctionCodeCommand,
} = installed("@aws-sdk/client-lambda");

const [archive, ready] = process.argv.slice(2);
const client = new LambdaClient({ maxAttempts: 1 }); // the rest is in the environment
const ROLE = "arn:aws:iam::123456789012:role/function";

function create(name, more) {
  return client.send(new CreateFunctionCommand({
    FunctionName: name, Runtime: "python3.11", Role: ROLE, Handler: "app.handler",
    Code: { ZipFile: fs.readFileSync(archive) }, ...more,
  }));
}

const tests = {
  async create() {
    const made = await create("js-one", { Tags: { client: "js" }, Timeout: 5, MemorySize: 256 });
    assert.equal(made.$metadata.httpStatusCode, 201);
    assert.equal(made.FunctionName, "js-one");
    assert.equal(made.MemorySize, 256);
    const waited = await waitUntilFunctionActiveV2({ client, maxWaitTime: 60 }, { FunctionName: "js-one" });
    assert.equal(waited.state, "SUCCESS");
    const got = await client.send(new GetFunctionCommand({ FunctionName: "js-one" }));
    assert.equal(got.Configuration.State, "Active");
    assert.deepEqual(got.Tags, { client: "js" });
    const location = await fetch(got.Code.Location);
    assert.deepEqual(Buffer.from(await location.arrayBuffer()), fs.readFileSync(archive));
    const tags = await client.send(new ListTagsCommand({ Resource: made.FunctionArn }));
    assert.deepEqual(tags.Tags, { client: "js" });
  },

  async update() {
    await client.send(new UpdateFunctionCodeCommand({
      FunctionName: "js-one", ZipFile: fs.readFileSync(archive),
    }));
    const waited = await waitUntilFunctionUpdatedV2({ client, maxWaitTime: 60 }, { FunctionName: "js-one" });
    assert.equal(waited.state, "SUCCESS");
  },

  async pages() {
    for (const name of ["js-two", "js-three"]) await create(name);
    const names = [];
    for await (const page of paginateListFunctions({ client, pageSize: 1 }, {})) {
      assert.ok(page.Functions.length <= 1);
      names.push(...page.Functions.map((one) => one.FunctionName));
    }
    for (const name of ["js-one", "js-two", "js-three"])
      assert.equal(names.filter((one) => one === name).length, 1, names);
  },

  async invoke() {
    const answer = await client.send(new InvokeCommand({
      FunctionName: ready, Payload: JSON.stringify({ value: ["ä", 1, null] }), LogType: "Tail",
    }));
    assert.equal(answer.StatusCode, 200);
    assert.equal(answer.ExecutedVersion, "1");
    assert.equal(answer.FunctionError, undefined);
    assert.deepEqual(JSON.parse(answer.Payload.transformToString()), ["ä", 1, null]);
    assert.match(Buffer.from(answer.LogResult, "base64").toString(), /^REPORT RequestId: /m);
    const error = await client.send(new InvokeCommand({
      FunctionName: ready, Payload: JSON.stringify({ do: "raise" }),
    }));
    assert.equal(error.FunctionError, "Unhandled");
    assert.equal(JSON.parse(error.Payload.transformToString()).errorType, "TeapotError");
    const event = await client.send(new InvokeCommand({
      FunctionName: ready, InvocationType: "Event", Payload: "{}",
    }));
    assert.equal(event.StatusCode, 202);
  },

  async stream() {
    const value = "z".repeat(200000);
    const answer = await client.send(new InvokeWithResponseStreamCommand({
      FunctionName: ready, Payload: JSON.stringify({ value }), LogType: "Tail",
    }));
    const chunks = [];
    let complete;
    for await (const event of answer.EventStream) {
      if (event.PayloadChunk) chunks.push(Buffer.from(event.PayloadChunk.Payload));
      if (event.InvokeComplete) complete = event.InvokeComplete;
    }
    assert.equal(JSON.parse(Buffer.concat(chunks).toString()), value);
    assert.equal(complete.ErrorCode, undefined);
    assert.match(Buffer.from(complete.LogResult, "base64").toString(), /^REPORT RequestId: /m);
  },

  async errors() {
    await assert.rejects(client.send(new GetFunctionCommand({ FunctionName: "nobody" })), (error) => {
      assert.ok(error instanceof ResourceNotFoundException);
      assert.equal(error.$metadata.httpStatusCode, 404);
      assert.equal(error.Type, "User");
      assert.match(error.message, /^Function not found: arn:aws:lambda:/);
      return true;
    });
    await assert.rejects(create("js-one"), ResourceConflictException);
    await client.send(new PutFunctionConcurrencyCommand({
      FunctionName: "js-one", ReservedConcurrentExecutions: 0,
    }));
    await assert.rejects(client.send(new InvokeCommand({ FunctionName: "js-one" })), (error) => {
      assert.ok(error instanceof TooManyRequestsException);
      assert.equal(error.Reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
      assert.equal(error.retryAfterSeconds, "1");
      return true;
    });
    await client.send(new DeleteFunctionConcurrencyCommand({ FunctionName: "js-one" }));
    const stranger = new LambdaClient({ maxAttempts: 1, credentials: {
      accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: "x".repeat(40) } });
    await assert.rejects(stranger.send(new GetFunctionCommand({ FunctionName: "js-one" })),
      { name: "InvalidSignatureException" });
    stranger.destroy();
  },

  async remove() {
    for (const name of ["js-one", "js-two", "js-three"])
      await client.send(new DeleteFunctionCommand({ FunctionName: name }));
    await assert.rejects(client.send(new GetFunctionCommand({ FunctionName: "js-two" })),
      ResourceNotFoundException);
  },
};

async function main() {
  for (const [name, test] of Object.entries(tests)) {
    await test();
    console.log(name);
  }
  client.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
