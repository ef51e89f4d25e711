from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PackList(_message.Message):
    __slots__ = ["format", "head", "packs"]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    format: int
    head: int
    packs: _containers.RepeatedCompositeFieldContainer[ThumbnailPack]
    def __init__(self, format: _Optional[int] = ..., head: _Optional[int] = ..., packs: _Optional[_Iterable[_Union[ThumbnailPack, _Mapping]]] = ...) -> None: ...

class ThumbnailPack(_message.Message):
    __slots__ = ["count", "head", "sha256", "size"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    count: int
    head: int
    sha256: bytes
    size: int
    def __init__(self, sha256: _Optional[bytes] = ..., size: _Optional[int] = ..., count: _Optional[int] = ..., head: _Optional[int] = ...) -> None: ...
