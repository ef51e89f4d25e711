"""Messages of PocketLens, as generated from the .proto files beside them."""
