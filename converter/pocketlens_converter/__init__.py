"""PocketLens converter: trains, quantizes, evaluates and calibrates embedding models."""
