// The camera: the phone's own where there is one, else a picture of what it shows in a window of the page.
// SPDX-License-Identifier: Apache-2.0

import { byId } from "/elements.js";

const WANTED = { audio: false, video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } } };

/** Whether a finger is what this device is used with: its own camera is better than ours. */
export const isPhone = () => matchMedia("(pointer: coarse)").matches;

/** Whether there is a camera that a page may use. */
export async function hasCamera() {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => null)) ?? [];
  return devices.some((each) => each.kind === "videoinput");
}

/**
 * Shows what the camera sees until somebody takes a photo, or closes the window.
 *
 * @returns {Promise<Blob | null>} Rejects where the camera is not to be had.
 */
export async function photograph() {
  const stream = await navigator.mediaDevices.getUserMedia(WANTED);
  const [dialog, video] = [byId("camera"), byId("camera-video")];
  try {
    video.srcObject = stream;
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    return dialog.returnValue === "taken" && video.videoWidth ? await shown(video) : null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

function shown(video) {
  const size = { width: video.videoWidth, height: video.videoHeight };
  const canvas = Object.assign(document.createElement("canvas"), size);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
