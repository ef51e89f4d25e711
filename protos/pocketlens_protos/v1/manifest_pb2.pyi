from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Blob(_message.Message):
    __slots__ = ["pieces", "sha256", "size"]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    pieces: bytes
    sha256: bytes
    size: int
    def __init__(self, sha256: _Optional[bytes] = ..., size: _Optional[int] = ..., pieces: _Optional[bytes] = ...) -> None: ...

class Changes(_message.Message):
    __slots__ = ["base", "blob", "head", "inflated_size"]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    INFLATED_SIZE_FIELD_NUMBER: _ClassVar[int]
    base: int
    blob: Blob
    head: int
    inflated_size: int
    def __init__(self, base: _Optional[int] = ..., head: _Optional[int] = ..., inflated_size: _Optional[int] = ..., blob: _Optional[_Union[Blob, _Mapping]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ["as_of", "bundle", "catalogue", "codebook", "deltas", "dim", "format", "generation", "images", "probes", "probes_estimated", "products", "relist", "retires_at", "rollout", "saturated_share", "scale", "signed_at", "snapshot", "state_hash", "thumbnails", "version"]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    CODEBOOK_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PROBES_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    RELIST_FIELD_NUMBER: _ClassVar[int]
    RETIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    SATURATED_SHARE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    as_of: int
    bundle: Blob
    catalogue: str
    codebook: Blob
    deltas: _containers.RepeatedCompositeFieldContainer[Changes]
    dim: int
    format: int
    generation: bytes
    images: int
    probes: int
    probes_estimated: bool
    products: int
    relist: Changes
    retires_at: int
    rollout: int
    saturated_share: float
    scale: bytes
    signed_at: int
    snapshot: Changes
    state_hash: bytes
    thumbnails: Blob
    version: int
    def __init__(self, format: _Optional[int] = ..., catalogue: _Optional[str] = ..., generation: _Optional[bytes] = ..., version: _Optional[int] = ..., as_of: _Optional[int] = ..., signed_at: _Optional[int] = ..., state_hash: _Optional[bytes] = ..., images: _Optional[int] = ..., products: _Optional[int] = ..., dim: _Optional[int] = ..., scale: _Optional[bytes] = ..., bundle: _Optional[_Union[Blob, _Mapping]] = ..., codebook: _Optional[_Union[Blob, _Mapping]] = ..., probes: _Optional[int] = ..., probes_estimated: bool = ..., saturated_share: _Optional[float] = ..., snapshot: _Optional[_Union[Changes, _Mapping]] = ..., deltas: _Optional[_Iterable[_Union[Changes, _Mapping]]] = ..., retires_at: _Optional[int] = ..., rollout: _Optional[int] = ..., relist: _Optional[_Union[Changes, _Mapping]] = ..., thumbnails: _Optional[_Union[Blob, _Mapping]] = ...) -> None: ...
