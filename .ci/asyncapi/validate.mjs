// Validates an AsyncAPI document: with the reference parser against the
// specification, and each message's examples against the message's schemas,
// which the parser leaves out for version 3 documents.
//
// Usage: node validate.mjs FILE. Prints what it finds; the exit code is 1 if any
// of it is an error or a warning.
import { readFile } from 'node:fs/promises';
import { DiagnosticSeverity, Parser } from '@asyncapi/parser';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';

const file = process.argv[2];
if (!file) {
  console.error('usage: node validate.mjs FILE');
  process.exit(2);
}

const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'));
let failed = document === undefined;
for (const d of diagnostics) {
  failed ||= d.severity <= DiagnosticSeverity.Warning; // 0 is an error, 1 a warning
  const { line, character } = d.range.start;
  console.log(`${file}:${line + 1}:${character + 1}: ${DiagnosticSeverity[d.severity]} ${d.code}: ${d.message}`);
}

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
let examples = 0;
const check = (message, part, schema, value) => {
  if (schema === undefined || value === undefined) return;
  examples++;
  const valid = ajv.compile(schema.json());
  if (valid(value)) return;
  failed = true;
  console.log(`${file}: message ${message.id()}: the ${part} of an example: ${ajv.errorsText(valid.errors)}`);
};
for (const message of document?.messages() ?? []) {
  for (const example of message.examples()) {
    check(message, 'headers', message.headers(), example.headers());
    check(message, 'payload', message.payload(), example.payload());
  }
}

if (examples === 0) failed = true; // a document without examples would pass unseen
console.log(`${file}: ${diagnostics.length} diagnostics, ${examples} examples checked: ${failed ? 'invalid' : 'valid'}`);
process.exitCode = failed ? 1 : 0;
