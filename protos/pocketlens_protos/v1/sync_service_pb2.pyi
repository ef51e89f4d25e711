from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class File(_message.Message):
    __slots__ = ["data", "name"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    name: str
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class GetPiecesRequest(_message.Message):
    __slots__ = ["catalogue", "pieces"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    pieces: _containers.RepeatedCompositeFieldContainer[PieceRequest]
    def __init__(self, catalogue: _Optional[str] = ..., pieces: _Optional[_Iterable[_Union[PieceRequest, _Mapping]]] = ...) -> None: ...

class PieceChunk(_message.Message):
    __slots__ = ["data", "place"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    place: int
    def __init__(self, place: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PieceRequest(_message.Message):
    __slots__ = ["blob_sha256", "number"]
    BLOB_SHA256_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    blob_sha256: bytes
    number: int
    def __init__(self, blob_sha256: _Optional[bytes] = ..., number: _Optional[int] = ...) -> None: ...

class PollRequest(_message.Message):
    __slots__ = ["catalogue", "generation", "models", "publishing", "root", "snapshot", "targets", "timestamp", "version", "without_delta"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PUBLISHING_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_DELTA_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    generation: bytes
    models: int
    publishing: int
    root: int
    snapshot: int
    targets: int
    timestamp: int
    version: int
    without_delta: bool
    def __init__(self, catalogue: _Optional[str] = ..., generation: _Optional[bytes] = ..., version: _Optional[int] = ..., root: _Optional[int] = ..., timestamp: _Optional[int] = ..., snapshot: _Optional[int] = ..., targets: _Optional[int] = ..., models: _Optional[int] = ..., publishing: _Optional[int] = ..., without_delta: bool = ...) -> None: ...

class PollResponse(_message.Message):
    __slots__ = ["delta", "files"]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    delta: bytes
    files: _containers.RepeatedCompositeFieldContainer[File]
    def __init__(self, files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., delta: _Optional[bytes] = ...) -> None: ...
