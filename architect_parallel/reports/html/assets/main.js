// Start the page.
import { root } from "./dom.js";
import { buildDiff, setUpDiff } from "./diff.js";
import { fillFilesForPrinting } from "./files.js";
import { followRun } from "./live.js";
import { setUpMatrix } from "./matrix.js";
import { loadReport } from "./report_data.js";
import { followLink, restoreTheme, setUpShell } from "./shell.js";
import { setUpTranscripts } from "./transcripts.js";

restoreTheme();
document.addEventListener("DOMContentLoaded", () => {
  loadReport();
  setUpShell();
  setUpDiff();
  setUpMatrix();
  setUpTranscripts();
  addEventListener("beforeprint", fillFilesForPrinting);
  const events = document.querySelector("meta[name=architect-events]");
  if (events) followRun(events.content, events.dataset.state);
  // The first paint does not wait for the diffs.
  requestAnimationFrame(() => setTimeout(async () => {
    await buildDiff();
    followLink(location.hash);
    root.dataset.ready = "true";
  }));
});
