"""What a manifest says of the store that it leads to (PURE)."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np

from pocketlens.formats.delta import Header
from pocketlens.formats.manifest import Manifest
from pocketlens.store.applying.relisting import NewCodebook
from pocketlens.store.facts import Origin


def codebook_of(manifest: Manifest, data: bytes) -> NewCodebook:
    """The codebook whose canonical bytes are `data`, as the manifest's blob has them."""
    centroids = np.frombuffer(data[8:], "<f2").reshape(-1, len(manifest.scale))
    return NewCodebook(centroids, manifest.probes, manifest.probes_estimated)


def origin_of(manifest: Manifest, snapshot: Header) -> Origin:
    """Where a store comes from that is made of a snapshot."""
    return Origin(
        generation=manifest.generation.hex(),
        bundle_sha256=manifest.bundle.sha256,
        catalogue=manifest.catalogue,
        version=snapshot.head,
        as_of=snapshot.as_of,
        scale=manifest.scale,
        probes=manifest.probes,
        probes_estimated=manifest.probes_estimated,
        codebook_sha256=manifest.codebook.sha256,
        saturated_share=manifest.saturated_share,
    )
