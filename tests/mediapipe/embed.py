"""Runs inside MediaPipe's environment: embeddings of pictures by its ImageEmbedder.

python embed.py MODEL.tflite OUT.npy PICTURE...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

model, out, *pictures = sys.argv[1:]
options = vision.ImageEmbedderOptions(
    base_options=BaseOptions(model_asset_path=model), l2_normalize=True, quantize=False
)
with vision.ImageEmbedder.create_from_options(options) as embedder:
    rows = [
        embedder.embed(mediapipe.Image.create_from_file(each)).embeddings[0].embedding
        for each in pictures
    ]
np.save(out, np.array(rows, np.float32))
