from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
RESIZE_MODE_CROP: ResizeMode
RESIZE_MODE_PAD: ResizeMode
RESIZE_MODE_SQUASH: ResizeMode
RESIZE_MODE_UNSPECIFIED: ResizeMode

class Bundle(_message.Message):
    __slots__ = ["calibrations", "format", "golden_bound", "golden_examples", "provenance", "queries", "representative", "spec"]
    CALIBRATIONS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_BOUND_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    REPRESENTATIVE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    calibrations: _containers.RepeatedCompositeFieldContainer[Calibration]
    format: int
    golden_bound: float
    golden_examples: _containers.RepeatedCompositeFieldContainer[GoldenExample]
    provenance: Provenance
    queries: Embeddings
    representative: Embeddings
    spec: Spec
    def __init__(self, format: _Optional[int] = ..., spec: _Optional[_Union[Spec, _Mapping]] = ..., golden_examples: _Optional[_Iterable[_Union[GoldenExample, _Mapping]]] = ..., golden_bound: _Optional[float] = ..., representative: _Optional[_Union[Embeddings, _Mapping]] = ..., queries: _Optional[_Union[Embeddings, _Mapping]] = ..., calibrations: _Optional[_Iterable[_Union[Calibration, _Mapping]]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ["absent_photos", "expected_calibration_error", "false_accept_rate", "false_reject_rate", "intercept", "log_products_weight", "margin_weight", "match_threshold", "name", "no_match_threshold", "present_photos", "products", "similarity_weight"]
    ABSENT_PHOTOS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATE_FIELD_NUMBER: _ClassVar[int]
    FALSE_REJECT_RATE_FIELD_NUMBER: _ClassVar[int]
    INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    LOG_PRODUCTS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MARGIN_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MATCH_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NO_MATCH_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PRESENT_PHOTOS_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    absent_photos: int
    expected_calibration_error: float
    false_accept_rate: float
    false_reject_rate: float
    intercept: float
    log_products_weight: float
    margin_weight: float
    match_threshold: float
    name: str
    no_match_threshold: float
    present_photos: int
    products: int
    similarity_weight: float
    def __init__(self, name: _Optional[str] = ..., intercept: _Optional[float] = ..., similarity_weight: _Optional[float] = ..., margin_weight: _Optional[float] = ..., log_products_weight: _Optional[float] = ..., match_threshold: _Optional[float] = ..., no_match_threshold: _Optional[float] = ..., false_accept_rate: _Optional[float] = ..., false_reject_rate: _Optional[float] = ..., expected_calibration_error: _Optional[float] = ..., present_photos: _Optional[int] = ..., absent_photos: _Optional[int] = ..., products: _Optional[int] = ...) -> None: ...

class Embeddings(_message.Message):
    __slots__ = ["count", "values"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    count: int
    values: bytes
    def __init__(self, count: _Optional[int] = ..., values: _Optional[bytes] = ...) -> None: ...

class GoldenExample(_message.Message):
    __slots__ = ["embedding", "jpeg", "tensor_zlib"]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    JPEG_FIELD_NUMBER: _ClassVar[int]
    TENSOR_ZLIB_FIELD_NUMBER: _ClassVar[int]
    embedding: bytes
    jpeg: bytes
    tensor_zlib: bytes
    def __init__(self, jpeg: _Optional[bytes] = ..., tensor_zlib: _Optional[bytes] = ..., embedding: _Optional[bytes] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ["converter_version", "float_model_sha256", "representative_pictures"]
    CONVERTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    FLOAT_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    REPRESENTATIVE_PICTURES_FIELD_NUMBER: _ClassVar[int]
    converter_version: str
    float_model_sha256: bytes
    representative_pictures: int
    def __init__(self, float_model_sha256: _Optional[bytes] = ..., converter_version: _Optional[str] = ..., representative_pictures: _Optional[int] = ...) -> None: ...

class Spec(_message.Message):
    __slots__ = ["dim", "duplicate_cosine", "input_height", "input_width", "name", "pad_level", "resize_mode"]
    DIM_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COSINE_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAD_LEVEL_FIELD_NUMBER: _ClassVar[int]
    RESIZE_MODE_FIELD_NUMBER: _ClassVar[int]
    dim: int
    duplicate_cosine: float
    input_height: int
    input_width: int
    name: str
    pad_level: int
    resize_mode: ResizeMode
    def __init__(self, name: _Optional[str] = ..., input_height: _Optional[int] = ..., input_width: _Optional[int] = ..., resize_mode: _Optional[_Union[ResizeMode, str]] = ..., pad_level: _Optional[int] = ..., dim: _Optional[int] = ..., duplicate_cosine: _Optional[float] = ...) -> None: ...

class ResizeMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
