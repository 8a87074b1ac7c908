// The data embedded in the page: a JSON block, and per worker a packed block of patches and one of transcripts.
import { byId } from "./dom.js";
import { parsePatch } from "./patch.js";

export let report = { workers: [], pairs: [] };
const unpackedBlocks = new WeakMap();
const patches = new Map();

export function loadReport() {
  report = JSON.parse(byId("data").content.textContent);
  patches.clear();
}

export const workerById = (id) => report.workers.find((worker) => worker.id === id);

/** Unpack a block (raw deflate in base64) into bytes, once. */
export function unpack(blockId) {
  const block = byId(blockId);
  if (!block) return Promise.resolve(new Uint8Array());
  if (!unpackedBlocks.has(block)) {
    const packed = Uint8Array.from(atob(block.content.textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    unpackedBlocks.set(block, new Response(stream).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
  }
  return unpackedBlocks.get(block);
}

export const decodeText = (bytes) => new TextDecoder("utf-8").decode(bytes);

/** Read a worker's patch of a file against the base; without hunks if the page does not contain it. */
export async function readPatch(workerId, file) {
  if (!file.patch) return { hunks: [], binary: false };
  const [offset, length] = file.patch, key = `${workerId}:${offset}`;
  if (!patches.has(key)) {
    const bytes = await unpack(`patch-${workerId}`);
    patches.set(key, parsePatch(decodeText(bytes.subarray(offset, offset + length))));
  }
  return patches.get(key);
}
