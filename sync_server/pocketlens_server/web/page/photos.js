// A picture file to the photo that is sent: upright, small, and without what the camera wrote beside it.
// SPDX-License-Identifier: Apache-2.0

const LONGEST_SIDE = 1600; // several times what a model sees, so that a box has pixels enough
const QUALITY = 0.87;
const LEAST_SIDE = 8;

/**
 * @param {Blob} file
 * @returns {Promise<{blob: Blob, width: number, height: number}>} Rejects where it is no picture.
 */
export async function photoOf(file) {
  const picture = await createImageBitmap(file); // turned as its EXIF says
  try {
    const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    const width = Math.max(LEAST_SIDE, Math.round(picture.width * scale));
    const height = Math.max(LEAST_SIDE, Math.round(picture.height * scale));
    return { blob: await encoded(picture, width, height), width, height };
  } finally {
    picture.close();
  }
}

async function encoded(picture, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff"; // what is see-through lies on white, as in a catalogue
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  if (blob === null) throw new Error("The canvas gave no picture.");
  return blob;
}
