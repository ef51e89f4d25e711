from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeltaHeader(_message.Message):
    __slots__ = ["as_of", "base", "catalogue", "codebook_sha256", "dim", "format", "generation", "head"]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    CODEBOOK_SHA256_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    as_of: int
    base: int
    catalogue: str
    codebook_sha256: bytes
    dim: int
    format: int
    generation: bytes
    head: int
    def __init__(self, format: _Optional[int] = ..., catalogue: _Optional[str] = ..., generation: _Optional[bytes] = ..., codebook_sha256: _Optional[bytes] = ..., base: _Optional[int] = ..., head: _Optional[int] = ..., as_of: _Optional[int] = ..., dim: _Optional[int] = ...) -> None: ...

class ImageColumns(_message.Message):
    __slots__ = ["codes", "ids", "key_steps", "product_counts", "product_key_steps", "urls"]
    CODES_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    KEY_STEPS_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNTS_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_KEY_STEPS_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    codes: bytes
    ids: _containers.RepeatedScalarFieldContainer[str]
    key_steps: _containers.RepeatedScalarFieldContainer[int]
    product_counts: _containers.RepeatedScalarFieldContainer[int]
    product_key_steps: _containers.RepeatedScalarFieldContainer[int]
    urls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key_steps: _Optional[_Iterable[int]] = ..., ids: _Optional[_Iterable[str]] = ..., urls: _Optional[_Iterable[str]] = ..., product_counts: _Optional[_Iterable[int]] = ..., product_key_steps: _Optional[_Iterable[int]] = ..., codes: _Optional[bytes] = ...) -> None: ...

class OfferColumns(_message.Message):
    __slots__ = ["currencies", "currency_names", "key_steps", "prices", "stocks"]
    CURRENCIES_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_NAMES_FIELD_NUMBER: _ClassVar[int]
    KEY_STEPS_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    STOCKS_FIELD_NUMBER: _ClassVar[int]
    currencies: _containers.RepeatedScalarFieldContainer[int]
    currency_names: _containers.RepeatedScalarFieldContainer[str]
    key_steps: _containers.RepeatedScalarFieldContainer[int]
    prices: _containers.RepeatedScalarFieldContainer[int]
    stocks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key_steps: _Optional[_Iterable[int]] = ..., prices: _Optional[_Iterable[int]] = ..., currency_names: _Optional[_Iterable[str]] = ..., currencies: _Optional[_Iterable[int]] = ..., stocks: _Optional[_Iterable[int]] = ...) -> None: ...

class PartsBlock(_message.Message):
    __slots__ = ["deleted_image_steps", "deleted_product_steps", "images", "offers", "placements", "products"]
    DELETED_IMAGE_STEPS_FIELD_NUMBER: _ClassVar[int]
    DELETED_PRODUCT_STEPS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    deleted_image_steps: _containers.RepeatedScalarFieldContainer[int]
    deleted_product_steps: _containers.RepeatedScalarFieldContainer[int]
    images: ImageColumns
    offers: OfferColumns
    placements: PlacementColumns
    products: ProductColumns
    def __init__(self, deleted_product_steps: _Optional[_Iterable[int]] = ..., deleted_image_steps: _Optional[_Iterable[int]] = ..., products: _Optional[_Union[ProductColumns, _Mapping]] = ..., images: _Optional[_Union[ImageColumns, _Mapping]] = ..., offers: _Optional[_Union[OfferColumns, _Mapping]] = ..., placements: _Optional[_Union[PlacementColumns, _Mapping]] = ...) -> None: ...

class PlacementColumns(_message.Message):
    __slots__ = ["image_key_steps", "lists"]
    IMAGE_KEY_STEPS_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    image_key_steps: _containers.RepeatedScalarFieldContainer[int]
    lists: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, image_key_steps: _Optional[_Iterable[int]] = ..., lists: _Optional[_Iterable[int]] = ...) -> None: ...

class ProductColumns(_message.Message):
    __slots__ = ["attribute_counts", "attribute_name_texts", "attribute_names", "attribute_values", "categories", "category_names", "ids", "key_steps", "titles", "urls"]
    ATTRIBUTE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_NAMES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_NAME_TEXTS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_VALUES_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_NAMES_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    KEY_STEPS_FIELD_NUMBER: _ClassVar[int]
    TITLES_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    attribute_counts: _containers.RepeatedScalarFieldContainer[int]
    attribute_name_texts: _containers.RepeatedScalarFieldContainer[str]
    attribute_names: _containers.RepeatedScalarFieldContainer[int]
    attribute_values: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[int]
    category_names: _containers.RepeatedScalarFieldContainer[str]
    ids: _containers.RepeatedScalarFieldContainer[str]
    key_steps: _containers.RepeatedScalarFieldContainer[int]
    titles: _containers.RepeatedScalarFieldContainer[str]
    urls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, key_steps: _Optional[_Iterable[int]] = ..., ids: _Optional[_Iterable[str]] = ..., titles: _Optional[_Iterable[str]] = ..., urls: _Optional[_Iterable[str]] = ..., category_names: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[int]] = ..., attribute_counts: _Optional[_Iterable[int]] = ..., attribute_name_texts: _Optional[_Iterable[str]] = ..., attribute_names: _Optional[_Iterable[int]] = ..., attribute_values: _Optional[_Iterable[str]] = ...) -> None: ...
