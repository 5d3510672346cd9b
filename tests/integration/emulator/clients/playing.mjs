// Plays a scenario with the JavaScript SDK, as playing.py does with boto3 and awscli:
// node playing.mjs NODE_MODULES SCENARIO PICTURES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [folder, scenario, pictures] = process.argv.slice(2);
const sdk = createRequire(resolve(folder, "from-here.js"))("@aws-sdk/client-rekognition");
const client = new sdk.RekognitionClient({});
const answers = {};

function resolved(value) {
  if (Array.isArray(value)) return value.map(resolved);
  if (typeof value === "string" && value.startsWith("$")) {
    const [step, ...path] = value.slice(1).split("/");
    return path.reduce((found, key) => found[key], answers[step]);
  }
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item)]));
  return value;
}

async function call(operation, members) {
  try {
    const { $metadata, ...answer } = await client.send(new sdk[`${operation}Command`](members));
    return { answer };
  } catch (error) {
    if (!error.$metadata) throw error;
    const { httpStatusCode: status, attempts } = error.$metadata;
    return { error: [error.name, error.message], status, attempts };
  }
}

const results = [];
for (const step of JSON.parse(readFileSync(scenario)).steps.filter((step) => !step.wire)) {
  const members = resolved(step.members);
  if (step.compared) {
    members.SourceImage = { Bytes: readFileSync(join(pictures, step.compared[0])) };
    members.TargetImage = { Bytes: readFileSync(join(pictures, step.compared[1])) };
  }
  if (step.picture) members.Image = { Bytes: readFileSync(join(pictures, step.picture)) };
  const result = await call(step.operation, members);
  const pages = [result.answer];
  while (step.follow && pages.at(-1).NextToken)
    pages.push((await call(step.operation, { ...members, NextToken: pages.at(-1).NextToken })).answer);
  answers[step.name] = result.answer;
  results.push({ name: step.name, ...result, ...(step.follow ? { pages } : {}) });
}
console.log(JSON.stringify(results));
