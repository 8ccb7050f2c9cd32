// Verifies what `routewright ledger export --log` has written, receipts, and requests to witnesses, as docs/verifying.md
// defines them. It shares no code with Routewright. Node 18 or newer, no packages:
//   node verify.mjs log.jsonl --checkpoint monday.checkpoint --key example.com/ledger+1c2d3e4f+AaBb...
//   node verify.mjs --receipt decision.tlog-proof --key KEY
//   node verify.mjs --request request --checkpoint old.checkpoint --key KEY
// Each option may be given again. Exits with status 1 if something is not as it was recorded, and names it.

import { createHash, createHmac, createPublicKey, verify as verifySignature } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

const sha256 = (...pieces) => pieces.reduce((hash, piece) => hash.update(piece), createHash("sha256")).digest();

function fromBase64(text) {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw Error(`not base64: ${text}`);
  return bytes;
}

// JSON as in RFC 8785, which takes the numbers and the order of keys of JavaScript.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

// What is hashed is made anew, so a key that is there twice would count once.
function parseCanonical(text) {
  const value = JSON.parse(text);
  if (canonical(value) !== text) throw Error(`not canonical JSON: ${text.slice(0, 60)}`);
  return value;
}

const hexOf = (text) => sha256(text).toString("hex");
const digestOf = (value) => `sha256:${hexOf(canonical(value))}`;

// Leaves

const KINDS = ["", "decision", "attempt", "outcome", "policy", "part", "erasure", "pruning"];
const [DECISION, ATTEMPT, OUTCOME, POLICY, PART, ERASURE, PRUNING] = [1, 2, 3, 4, 5, 6, 7];

const inHex = (number, bytes) => number.toString(16).padStart(2 * bytes, "0");
const leafOf = (kind, id, number, digest) =>
  Buffer.from(`01${inHex(kind, 1)}${id.replaceAll("-", "")}${inHex(number, 4)}${digest}`, "hex");

// Of which row values are: its id, and the number of an attempt or an erasure.
function rowOf(kind, values) {
  const number = kind === ATTEMPT || kind === ERASURE ? values.number : 0;
  if (kind !== POLICY && kind !== PART)
    return [{ [OUTCOME]: values.outcome_id, [PRUNING]: values.pruning_id }[kind] ?? values.decision_id, number];
  const hex = hexOf(canonical([values.kind, values.digest]));
  return [hex.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"), number];
}

const nameOf = (kind, id, number) => (kind === ATTEMPT ? `attempt ${number} of decision ${id}` : `${KINDS[kind]} ${id}`);

// The tree

const leafHash = (leaf) => sha256("\x00", leaf);
const nodeHash = (left, right) => sha256("\x01", left, right);

function rootOf(hashes) {
  if (hashes.length < 2) return hashes[0] ?? sha256();
  const half = 2 ** Math.ceil(Math.log2(hashes.length) - 1);
  return nodeHash(rootOf(hashes.slice(0, half)), rootOf(hashes.slice(half)));
}

// Where a proof leads from a node that is at place `at` of a level whose last place is `last`: RFC 9162, 2.1.3.2, 2.1.4.2.
function climb(proof, at, last, found) {
  let [root, oldRoot] = [found, found];
  for (const hash of proof) {
    if (last === 0n) throw Error("the proof is too long");
    const isRight = at & 1n || at === last;
    root = isRight ? nodeHash(hash, root) : nodeHash(root, hash);
    if (isRight) oldRoot = nodeHash(hash, oldRoot);
    while (isRight && at && !(at & 1n)) [at, last] = [at >> 1n, last >> 1n];
    [at, last] = [at >> 1n, last >> 1n];
  }
  if (last !== 0n) throw Error("the proof is too short");
  return [root, oldRoot];
}

function isConsistent(oldSize, oldRoot, size, root, proof) {
  if (oldSize === 0) return proof.length === 0;
  if (oldSize >= size) return oldSize === size && proof.length === 0 && oldRoot.equals(root);
  if (proof.length === 0) return false;
  const [first, ...rest] = Number.isInteger(Math.log2(oldSize)) ? [oldRoot, ...proof] : proof;
  let [at, last] = [BigInt(oldSize) - 1n, BigInt(size) - 1n];
  while (at & 1n) [at, last] = [at >> 1n, last >> 1n];
  const [made, madeOld] = climb(rest, at, last, first);
  return made.equals(root) && madeOld.equals(oldRoot);
}

// Signed notes

function parseKey(text) {
  const [, name, id, encoded] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text) ?? [];
  const bytes = fromBase64(encoded ?? "");
  const made = sha256(`${name}\n`, bytes).subarray(0, 4);
  if (bytes.length !== 33 || made.toString("hex") !== id) throw Error(`not a public key: ${text}`);
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), bytes.subarray(1)]);
  return { name, id: made, type: bytes[0], key: createPublicKey({ key: der, format: "der", type: "spki" }) };
}

function openCheckpoint(note, keys, mustBeSigned = true) {
  const end = note.lastIndexOf("\n\n") + 1;
  if (end === 0 || !note.endsWith("\n")) throw Error("not a signed note");
  const text = note.slice(0, end);
  const [origin, size, root] = text.split("\n");
  if (!/^(0|[1-9][0-9]*)$/.test(size) || fromBase64(root ?? "").length !== 32) throw Error("not a checkpoint");
  const signed = note.slice(end + 1, -1).split("\n").map((line) => signedBy(line, text, keys));
  if (mustBeSigned && !signed.some((key) => key?.type === 1 && key.name === origin))
    throw Error(`no key that was given of ${origin} has signed the checkpoint`);
  return { origin, size: Number(size), root: fromBase64(root) };
}

function signedBy(line, text, keys) {
  const [, name, encoded] = /^— (\S+) (\S+)$/.exec(line) ?? [];
  const bytes = fromBase64(encoded ?? "");
  if (bytes.length < 5) throw Error(`not a line of a signature: ${line}`);
  const key = keys.find((one) => one.name === name && one.id.equals(bytes.subarray(0, 4)));
  if (key === undefined) return null;
  let [message, signature] = [text, bytes.subarray(4)];
  if (key.type === 4 && signature.length === 72) {
    message = `cosignature/v1\ntime ${signature.readBigUInt64BE()}\n${text}`;
    signature = signature.subarray(8);
  }
  if (signature.length !== 64 || !verifySignature(null, Buffer.from(message), key.key, signature))
    throw Error(`the signature of ${name} is wrong`);
  return key;
}

// Receipts and requests: lines, an empty one, and a checkpoint

function openProof(lines, keys) {
  const gap = lines.indexOf("");
  return { proof: lines.slice(0, gap).map(fromBase64), ...openCheckpoint(lines.slice(gap + 1).join("\n"), keys) };
}

function checkReceipt(content, keys) {
  const [header, extra, index, ...lines] = content.split("\n");
  if (header !== "c2sp.org/tlog-proof@v1" || !/^extra \S+$/.test(extra) || !/^index [0-9]+$/.test(index))
    throw Error("not a receipt");
  const { proof, origin, size, root } = openProof(lines, keys);
  const { kind = DECISION, values, record } = parseCanonical(fromBase64(extra.slice(6)).toString());
  const [row, at] = [rowOf(kind, values), index.slice(6)];
  const name = nameOf(kind, ...row);
  if (kind === DECISION) {
    const made = record.record === 2 ? digestOf(withPartsAsDigests(withoutSealed(record))) : digestOf(record);
    if (made !== values.record) throw Error(`the record of ${name} in the receipt was changed`);
    if (record.id !== values.decision_id) throw Error(`the record in the receipt is not that of ${name}`);
  }
  const leaf = leafHash(leafOf(kind, ...row, hexOf(canonical(values))));
  if (BigInt(at) >= BigInt(size) || !climb(proof, BigInt(at), BigInt(size) - 1n, leaf)[0].equals(root))
    throw Error(`${name} with these values was not in the log when the checkpoint was signed`);
  return `${name} was leaf ${at} of ${origin} when the checkpoint of ${size} leaves was signed`;
}

// What the digest of a record is made of has none of the sealed values, but their HMACs.
function withoutSealed({ salts, ...whole }) {
  if (salts === undefined) return whole;
  const record = structuredClone(whole);
  record.erased ??= {};
  for (const [place, salt] of Object.entries(salts)) {
    const [, kind, name] = /^(features|ignored|metadata)\.(.*)$/s.exec(place);
    const of = { features: [record.features[name], "value"], ignored: [record.ignored, name] };
    const [holder, key] = of[kind] ?? [record.request.metadata, name];
    record.erased[place] = createHmac("sha256", Buffer.from(salt, "hex")).update(canonical(holder[key])).digest("hex");
    if (kind === "metadata") delete holder[key];
    else holder[key] = null;
  }
  return record;
}

function withPartsAsDigests(record) {
  const standing = { ...record, state: { ...record.state } };
  for (const name of ["arm", "rules", "candidates", "choice", "plan"])
    if (record[name] !== null) standing[name] = digestOf(record[name]);
  const digests = (values) => Object.fromEntries(Object.entries(values).map(([key, value]) => [key, digestOf(value)]));
  for (const name of ["models", "memory"].filter((one) => one in record.state))
    standing.state[name] = digestOf(digests(record.state[name]));
  return standing;
}

function checkRequest(content, keys, checkpoints) {
  const [first, ...lines] = content.split("\n");
  const old = Number(/^old (0|[1-9][0-9]*)$/.exec(first)?.[1] ?? NaN);
  const { proof, origin, size, root } = openProof(lines, keys);
  const before = old === 0 ? { root: sha256() } : checkpoints.find((one) => one.origin === origin && one.size === old);
  if (before === undefined) throw Error(`the checkpoint of ${old} leaves was not given`);
  if (!isConsistent(old, before.root, size, root, proof))
    throw Error(`the log of ${size} leaves does not begin with the ${old} that were signed before`);
  return `the log of ${size} leaves of ${origin} begins with the ${old} that were signed before`;
}

// The export of a log

function* linesOf(file) {
  const [opened, chunk] = [openSync(file), Buffer.alloc(1 << 20)];
  let left = Buffer.alloc(0);
  for (let count; (count = readSync(opened, chunk)) > 0; ) {
    left = Buffer.concat([left, chunk.subarray(0, count)]);
    let start = 0;
    for (let end; (end = left.indexOf(10, start)) >= 0; start = end + 1) yield left.subarray(start, end).toString();
    left = left.subarray(start);
  }
  closeSync(opened);
  if (left.length > 0) throw Error("the file ends within a line");
}

function checkLog(file, keys, given) {
  const [faults, hashes, leaves, seen] = [[], [], new Map(), new Set()];
  const [records, parts, again, prices] = [new Map(), new Map(), [], new Set(["[null,null]"])];
  const [erased, gone, pruned, checkpoints] = [new Set(), new Set(), [], [...given]];
  const takeLeaf = ({ leaf, kind, id, number, digest }) => {
    if (leaf !== hashes.length) throw Error(`leaf ${hashes.length} is missing`);
    hashes.push(leafHash(leafOf(kind, id, number, digest)));
    const key = `${kind} ${number} ${id}`;
    leaves.set(key, [...(leaves.get(key) ?? []), { leaf, kind, id, number, digest }]);
  };
  const takeRow = ({ kind, values }) => {
    const [id, number] = rowOf(kind, values);
    const [key, name] = [`${kind} ${number} ${id}`, nameOf(kind, id, number)];
    const digest = hexOf(kind === PART ? values.value : canonical(values));
    const known = leaves.get(key);
    if (kind === PART) parts.set(values.digest, { kind: values.kind, made: `sha256:${digest}` });
    if (kind === DECISION) records.set(id, values.record);
    if (kind === ERASURE) erased.add(id);
    if (kind === ERASURE && !values.places) [id, ...(values.outcomes ?? [])].forEach((one) => gone.add(one));
    if (kind === ATTEMPT) prices.add(JSON.stringify([values.currency ?? null, values.price_since ?? null]));
    const kept = kind === PRUNING && attempt(() => openCheckpoint(values.checkpoint, keys, keys.length > 0));
    if (kind === PRUNING) pruned.push(...values.leaves);
    if (kept) checkpoints.push(kept);
    if (kept && values.leaves.some(([, last]) => last >= kept.size)) faults.push(`${name} is not under its checkpoint`);
    if (seen.has(key)) faults.push(`${name} is there twice`);
    else if (known === undefined) faults.push(`${name} is not in the log`);
    else if (known.at(-1).digest !== digest) faults.push(`leaf ${known.at(-1).leaf}: ${name} has changed`);
    else if (known.length > 1) again.push({ kind, values, known, name });
    seen.add(key);
  };
  const takeRecord = ({ id, record, text: whole, problem, unsealed }) => {
    const made = whole === undefined ? digestOf(record ?? null) : `sha256:${hexOf(whole)}`;
    if (unsealed && erased.has(id)) return records.delete(id);
    if (problem !== undefined) faults.push(`the record of decision ${id} cannot be made again: ${problem}`);
    else if (made !== records.get(id)) faults.push(`the record of decision ${id} has changed`);
    else if ((record ?? JSON.parse(whole)).id !== id) faults.push(`the record of decision ${id} is another's`);
    records.delete(id);
  };
  for (const text of linesOf(file)) {
    const line = parseCanonical(text);
    ("leaf" in line ? takeLeaf : "values" in line ? takeRow : takeRecord)(line);
  }
  const isPruned = ({ leaf, kind }) =>
    [DECISION, ATTEMPT, OUTCOME, PART].includes(kind) && pruned.some(([first, last]) => first <= leaf && leaf <= last);
  for (const id of records.keys()) faults.push(`the record of decision ${id} is missing`);
  for (const { kind, values, known, name } of again)
    if (!known.slice(0, -1).every((one) => isPruned(one) || earlierDigests(kind, values, prices).includes(one.digest)))
      faults.push(`leaf ${known[0].leaf}: ${name} was entered again, as another`);
  for (const [digest, { kind, made }] of parts)
    if (made !== digest && parts.has(made))
      faults.push(`the part ${kind} ${digest} has the value of ${parts.get(made).kind} ${made}`);
  for (const [key, known] of leaves) {
    const { leaf, kind, id, number } = known.at(-1);
    const [isThere, wasPruned] = [seen.has(key), isPruned(known.at(-1))];
    if (isThere && wasPruned) faults.push(`leaf ${leaf}: ${nameOf(kind, id, number)} was pruned, and is there again`);
    if (!isThere && !wasPruned && !gone.has(id)) faults.push(`leaf ${leaf}: ${nameOf(kind, id, number)} is missing`);
  }
  for (const { size, root } of checkpoints)
    if (size > hashes.length) faults.push(`the checkpoint has ${size} leaves, the log ${hashes.length}: an older file?`);
    else if (!rootOf(hashes.slice(0, size)).equals(root))
      faults.push(`the first ${size} leaves are not those that the checkpoint was signed for`);
  console.log(`${hashes.length} leaves, ${seen.size} rows, root ${rootOf(hashes).toString("base64")}`);
  return faults;
}

// What the digest of a row may have been before the end of its call was recorded late.
function earlierDigests(kind, values, prices) {
  const { answered_attempt: _, ...unanswered } = values;
  if (kind === DECISION) return [hexOf(canonical(unanswered))];
  if (kind !== ATTEMPT || values.status === "lost") return [];
  const intended = "decision_id number role model_id backend_id started_at_us streamed location host".split(" ");
  const lost = Object.fromEntries(intended.map((name) => [name, values[name]]));
  return [...prices].flatMap((price) => [values.simulated, false].map((simulated) => {
    const [currency, price_since] = JSON.parse(price);
    const made = { ...lost, status: "lost", cached_answer: false, currency, price_since, simulated };
    return hexOf(canonical(Object.fromEntries(Object.entries(made).filter(([, value]) => value != null))));
  }));
}

const given = { "--key": [], "--checkpoint": [], "--receipt": [], "--request": [], log: [] };
for (const args = process.argv.slice(2); args.length > 0; ) (given[args[0]] ? given[args.shift()] : given.log).push(args.shift());
const faults = [];
const attempt = (work) => { try { return work(); } catch (error) { faults.push(error.message); } };
const contents = (option) => given[option].map((file) => readFileSync(file, "utf8"));
const keys = given["--key"].map(parseKey);
const checkpoints = contents("--checkpoint").map((note) => attempt(() => openCheckpoint(note, keys))).filter(Boolean);
for (const receipt of contents("--receipt")) attempt(() => console.log(checkReceipt(receipt, keys)));
for (const request of contents("--request")) attempt(() => console.log(checkRequest(request, keys, checkpoints)));
for (const file of given.log) attempt(() => faults.push(...checkLog(file, keys, checkpoints)));
for (const fault of faults) console.log(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
