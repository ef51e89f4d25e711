// Where photos come from: the camera, a file, a drop, a paste.
// SPDX-License-Identifier: Apache-2.0

import { hasCamera, isPhone, photograph } from "/camera.js";
import { byId } from "/elements.js";
import { SAID } from "/texts.js";

/**
 * Listens to all of them.
 *
 * @param {(file: Blob) => void} given Called with each picture.
 * @param {(text: string) => void} refused Called with why something is none.
 */
export async function listen(given, refused) {
  const first = (files) => {
    const file = [...files].find((each) => each.type.startsWith("image/"));
    if (file) given(file);
    else refused(SAID.notPhoto);
  };
  listenToFiles(byId("choose"), byId("file"), first);
  listenToDrops(first);
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return; // a text for a field
    event.preventDefault();
    first(event.clipboardData.files);
  });
  if (isPhone()) listenToFiles(byId("take"), byId("photo-file"), first);
  else if (await hasCamera()) listenToCamera(given, refused);
  else byId("take").hidden = true;
}

function listenToFiles(button, input, first) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) first(input.files);
    input.value = ""; // the same file may be chosen again
  });
}

function listenToCamera(given, refused) {
  byId("take").addEventListener("click", async () => {
    try {
      const taken = await photograph();
      if (taken) given(taken);
    } catch {
      refused(SAID.noCamera);
    }
  });
}

function listenToDrops(first) {
  const { classList } = document.body;
  const isOfFiles = (event) => event.dataTransfer.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // else the browser would open it
    classList.toggle("dropping", isOfFiles(event));
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    classList.remove("dropping");
    first(event.dataTransfer.files);
  });
}
