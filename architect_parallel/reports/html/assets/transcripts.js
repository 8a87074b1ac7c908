// Unpack a transcript when the user opens it.
import { decodeText, unpack } from "./report_data.js";

export function setUpTranscripts() {
  document.addEventListener("toggle", async (event) => {
    const box = event.target.open && event.target.querySelector && event.target.querySelector("pre[data-log]:empty");
    if (!box) return;
    box.textContent = "…";
    box.textContent = decodeText(await unpack(`log-${box.dataset.log}`));
  }, true); // `toggle` does not bubble
}
