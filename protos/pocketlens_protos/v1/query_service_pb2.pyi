from pocketlens_protos.v1 import catalog_pb2 as _catalog_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
MATCH: Verdict
NO_MATCH: Verdict
UNSURE: Verdict
VERDICT_UNSPECIFIED: Verdict

class Box(_message.Message):
    __slots__ = ["bottom", "left", "right", "top"]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    bottom: float
    left: float
    right: float
    top: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class CategoryShare(_message.Message):
    __slots__ = ["category", "probability"]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    category: str
    probability: float
    def __init__(self, category: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ["box", "catalogue", "model", "photo"]
    class Model(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    BEST: EmbedRequest.Model
    BOX_FIELD_NUMBER: _ClassVar[int]
    BUNDLE: EmbedRequest.Model
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PHOTO_FIELD_NUMBER: _ClassVar[int]
    box: Box
    catalogue: str
    model: EmbedRequest.Model
    photo: bytes
    def __init__(self, catalogue: _Optional[str] = ..., photo: _Optional[bytes] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., model: _Optional[_Union[EmbedRequest.Model, str]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ["accelerator", "generation", "pipeline", "timings", "values"]
    ACCELERATOR_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    accelerator: str
    generation: bytes
    pipeline: str
    timings: Timings
    values: bytes
    def __init__(self, values: _Optional[bytes] = ..., pipeline: _Optional[str] = ..., generation: _Optional[bytes] = ..., accelerator: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ["generation", "values"]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    generation: bytes
    values: bytes
    def __init__(self, generation: _Optional[bytes] = ..., values: _Optional[bytes] = ...) -> None: ...

class EstimatePriceRequest(_message.Message):
    __slots__ = ["box", "catalogue", "embedding", "filter", "photo"]
    BOX_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PHOTO_FIELD_NUMBER: _ClassVar[int]
    box: Box
    catalogue: str
    embedding: Embedding
    filter: Filter
    photo: bytes
    def __init__(self, catalogue: _Optional[str] = ..., photo: _Optional[bytes] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., box: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

class EstimatePriceResponse(_message.Message):
    __slots__ = ["accelerator", "answered_by", "band", "currency", "fitted_on", "generation", "items", "suggestions", "timings", "version"]
    ACCELERATOR_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    BAND_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    FITTED_ON_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    accelerator: str
    answered_by: str
    band: PriceBand
    currency: str
    fitted_on: int
    generation: bytes
    items: _containers.RepeatedCompositeFieldContainer[Sale]
    suggestions: _containers.RepeatedCompositeFieldContainer[Suggestion]
    timings: Timings
    version: int
    def __init__(self, currency: _Optional[str] = ..., band: _Optional[_Union[PriceBand, _Mapping]] = ..., items: _Optional[_Iterable[_Union[Sale, _Mapping]]] = ..., suggestions: _Optional[_Iterable[_Union[Suggestion, _Mapping]]] = ..., fitted_on: _Optional[int] = ..., generation: _Optional[bytes] = ..., version: _Optional[int] = ..., answered_by: _Optional[str] = ..., accelerator: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ["attributes", "category", "currency", "in_stock", "max_price", "min_price"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    IN_STOCK_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    MIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    category: str
    currency: str
    in_stock: bool
    max_price: str
    min_price: str
    def __init__(self, category: _Optional[str] = ..., min_price: _Optional[str] = ..., max_price: _Optional[str] = ..., currency: _Optional[str] = ..., in_stock: bool = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Match(_message.Message):
    __slots__ = ["alternatives", "image", "product", "similarity"]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    alternatives: _containers.RepeatedCompositeFieldContainer[_catalog_pb2.Product]
    image: _catalog_pb2.Image
    product: _catalog_pb2.Product
    similarity: float
    def __init__(self, product: _Optional[_Union[_catalog_pb2.Product, _Mapping]] = ..., image: _Optional[_Union[_catalog_pb2.Image, _Mapping]] = ..., similarity: _Optional[float] = ..., alternatives: _Optional[_Iterable[_Union[_catalog_pb2.Product, _Mapping]]] = ...) -> None: ...

class PriceBand(_message.Message):
    __slots__ = ["high", "low", "middle"]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    MIDDLE_FIELD_NUMBER: _ClassVar[int]
    high: _catalog_pb2.Price
    low: _catalog_pb2.Price
    middle: _catalog_pb2.Price
    def __init__(self, low: _Optional[_Union[_catalog_pb2.Price, _Mapping]] = ..., middle: _Optional[_Union[_catalog_pb2.Price, _Mapping]] = ..., high: _Optional[_Union[_catalog_pb2.Price, _Mapping]] = ...) -> None: ...

class Sale(_message.Message):
    __slots__ = ["age_days", "product", "similarity", "weight"]
    AGE_DAYS_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    age_days: int
    product: _catalog_pb2.Product
    similarity: float
    weight: float
    def __init__(self, product: _Optional[_Union[_catalog_pb2.Product, _Mapping]] = ..., similarity: _Optional[float] = ..., age_days: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ["auto_category", "box", "catalogue", "embedding", "filter", "k", "photo"]
    class AutoCategory(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    AUTO_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    OFF: SearchRequest.AutoCategory
    PHOTO_FIELD_NUMBER: _ClassVar[int]
    SEARCH: SearchRequest.AutoCategory
    TELL: SearchRequest.AutoCategory
    auto_category: SearchRequest.AutoCategory
    box: Box
    catalogue: str
    embedding: Embedding
    filter: Filter
    k: int
    photo: bytes
    def __init__(self, catalogue: _Optional[str] = ..., photo: _Optional[bytes] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., auto_category: _Optional[_Union[SearchRequest.AutoCategory, str]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ["accelerator", "answered_by", "as_of", "best", "categories", "confidence", "gallery_size", "generation", "is_blank", "margin", "matches", "matches_in_filter", "searched", "threshold", "timings", "verdict", "version"]
    ACCELERATOR_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    GALLERY_SIZE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IS_BLANK_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    MATCHES_IN_FILTER_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    accelerator: str
    answered_by: str
    as_of: int
    best: Match
    categories: _containers.RepeatedCompositeFieldContainer[CategoryShare]
    confidence: float
    gallery_size: int
    generation: bytes
    is_blank: bool
    margin: float
    matches: _containers.RepeatedCompositeFieldContainer[Match]
    matches_in_filter: int
    searched: _containers.RepeatedScalarFieldContainer[str]
    threshold: float
    timings: Timings
    verdict: Verdict
    version: int
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., confidence: _Optional[float] = ..., threshold: _Optional[float] = ..., best: _Optional[_Union[Match, _Mapping]] = ..., matches: _Optional[_Iterable[_Union[Match, _Mapping]]] = ..., margin: _Optional[float] = ..., matches_in_filter: _Optional[int] = ..., gallery_size: _Optional[int] = ..., generation: _Optional[bytes] = ..., version: _Optional[int] = ..., as_of: _Optional[int] = ..., answered_by: _Optional[str] = ..., accelerator: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., categories: _Optional[_Iterable[_Union[CategoryShare, _Mapping]]] = ..., searched: _Optional[_Iterable[str]] = ..., is_blank: bool = ...) -> None: ...

class SimilarRequest(_message.Message):
    __slots__ = ["catalogue", "filter", "image", "k", "product", "variety"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    VARIETY_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    filter: Filter
    image: str
    k: int
    product: str
    variety: float
    def __init__(self, catalogue: _Optional[str] = ..., product: _Optional[str] = ..., image: _Optional[str] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., variety: _Optional[float] = ...) -> None: ...

class Suggestion(_message.Message):
    __slots__ = ["name", "share", "value", "votes"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    share: float
    value: str
    votes: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., share: _Optional[float] = ..., votes: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ["decode_ms", "embed_ms", "queue_ms", "search_ms"]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    EMBED_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    SEARCH_MS_FIELD_NUMBER: _ClassVar[int]
    decode_ms: float
    embed_ms: float
    queue_ms: float
    search_ms: float
    def __init__(self, decode_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., embed_ms: _Optional[float] = ..., search_ms: _Optional[float] = ...) -> None: ...

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
