// The changed files of a worker against the base, or of a worker against another worker. All comes from the patches
// against the base: where both workers changed a file, these contain the lines around each change.
//
// A file change is {path, oldPath, status, added, removed, modes, omitted, loadPatch}. `omitted` says why the page has
// no patch. `added` and `removed` are undefined for a file without lines.
import { compareHunks, reverseHunks } from "./patch.js";
import { readPatch, workerById } from "./report_data.js";

/** List what worker `right` has that worker `left` has not; `left` 0 means the base. */
export async function listFileChanges(left, right) {
  if (!left) return workerById(right).files.map((file) => againstBase(right, file));
  const basePath = (file) => file.oldPath || file.path;
  const [leftFiles, rightFiles] = [left, right].map(
    (id) => new Map(workerById(id).files.map((file) => [basePath(file), file])));
  const changes = [];
  for (const path of [...new Set([...leftFiles.keys(), ...rightFiles.keys()])].sort()) {
    const leftFile = leftFiles.get(path), rightFile = rightFiles.get(path);
    const change = leftFile && rightFile
      ? await betweenWorkers(left, leftFile, right, rightFile) : ofOneWorker(left, leftFile, right, rightFile);
    if (change) changes.push(change);
  }
  return changes;
}

function againstBase(workerId, file) {
  return {
    path: file.path, oldPath: file.oldPath, status: file.status, added: file.insertions, removed: file.deletions,
    modes: file.modes, omitted: file.omitted, loadPatch: () => readPatch(workerId, file),
  };
}

const isDeleted = (file) => file.status === "D";
const isNew = (file) => file.status === "A";

/** A file that only one of two workers changed. */
function ofOneWorker(left, leftFile, right, rightFile) {
  if (rightFile) return againstBase(right, rightFile);
  const renamed = leftFile.oldPath && leftFile.oldPath !== leftFile.path;
  return {
    path: leftFile.oldPath || leftFile.path, oldPath: renamed ? leftFile.path : undefined, omitted: leftFile.omitted,
    status: isDeleted(leftFile) ? "A" : isNew(leftFile) ? "D" : renamed ? "R" : "M",
    added: leftFile.deletions, removed: leftFile.insertions,
    loadPatch: async () => {
      const patch = await readPatch(left, leftFile);
      return { binary: patch.binary, hunks: reverseHunks(patch.hunks) };
    },
  };
}

/** A file that both workers changed; `null` if it is the same in both. */
async function betweenWorkers(left, leftFile, right, rightFile) {
  if (isDeleted(leftFile) && isDeleted(rightFile)) return null;
  const renamed = leftFile.path !== rightFile.path;
  const change = {
    path: rightFile.path, oldPath: renamed ? leftFile.path : undefined, omitted: leftFile.omitted || rightFile.omitted,
    status: isDeleted(leftFile) ? "A" : isDeleted(rightFile) ? "D" : renamed ? "R" : "M",
  };
  if (change.omitted) return change;
  const [leftPatch, rightPatch] = [await readPatch(left, leftFile), await readPatch(right, rightFile)];
  const binary = leftPatch.binary || rightPatch.binary;
  if (binary || leftFile.status === "T" || rightFile.status === "T") {
    change.loadPatch = async () => ({ binary, typeChanged: !binary, hunks: [] });
    return change;
  }
  const hunks = compareHunks(leftPatch.hunks, rightPatch.hunks);
  if (!hunks.length && !renamed) return null;
  const countSigns = (sign) => hunks.flatMap((hunk) => hunk.lines).filter((line) => line[0] === sign).length;
  change.added = countSigns("+");
  change.removed = countSigns("-");
  change.loadPatch = async () => ({ binary: false, hunks });
  return change;
}
