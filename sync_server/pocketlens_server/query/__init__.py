"""Questions answered at full precision: photo to vector, vector to products."""
