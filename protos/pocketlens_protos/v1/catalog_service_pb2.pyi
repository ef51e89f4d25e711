from pocketlens_protos.v1 import catalog_pb2 as _catalog_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CancelJobRequest(_message.Message):
    __slots__ = ["catalogue", "job"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    job: int
    def __init__(self, catalogue: _Optional[str] = ..., job: _Optional[int] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ["job"]
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ["applied", "dead", "embedded", "expected", "received", "refused", "repeated_requests", "reused", "skipped", "unchanged", "waiting"]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    EMBEDDED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REUSED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    applied: int
    dead: int
    embedded: int
    expected: int
    received: int
    refused: int
    repeated_requests: int
    reused: int
    skipped: int
    unchanged: int
    waiting: int
    def __init__(self, expected: _Optional[int] = ..., received: _Optional[int] = ..., applied: _Optional[int] = ..., unchanged: _Optional[int] = ..., skipped: _Optional[int] = ..., refused: _Optional[int] = ..., repeated_requests: _Optional[int] = ..., waiting: _Optional[int] = ..., embedded: _Optional[int] = ..., reused: _Optional[int] = ..., dead: _Optional[int] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ["at", "image_id", "job", "number", "picture_sha256", "product_ids", "reason"]
    AT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PICTURE_SHA256_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: int
    image_id: str
    job: int
    number: int
    picture_sha256: bytes
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, number: _Optional[int] = ..., job: _Optional[int] = ..., image_id: _Optional[str] = ..., product_ids: _Optional[_Iterable[str]] = ..., picture_sha256: _Optional[bytes] = ..., reason: _Optional[str] = ..., at: _Optional[int] = ...) -> None: ...

class DeleteImage(_message.Message):
    __slots__ = ["image_id"]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    def __init__(self, image_id: _Optional[str] = ...) -> None: ...

class DeleteProduct(_message.Message):
    __slots__ = ["product_id"]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    def __init__(self, product_id: _Optional[str] = ...) -> None: ...

class DiffRequest(_message.Message):
    __slots__ = ["base", "catalogue", "head", "limit"]
    BASE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    base: int
    catalogue: str
    head: int
    limit: int
    def __init__(self, catalogue: _Optional[str] = ..., base: _Optional[int] = ..., head: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class DiffResponse(_message.Message):
    __slots__ = ["base", "delta_bytes", "head", "images", "is_estimated", "is_new_model", "offers_changed", "products"]
    BASE_FIELD_NUMBER: _ClassVar[int]
    DELTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    IS_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    IS_NEW_MODEL_FIELD_NUMBER: _ClassVar[int]
    OFFERS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    base: int
    delta_bytes: int
    head: int
    images: ItemChanges
    is_estimated: bool
    is_new_model: bool
    offers_changed: int
    products: ItemChanges
    def __init__(self, base: _Optional[int] = ..., head: _Optional[int] = ..., products: _Optional[_Union[ItemChanges, _Mapping]] = ..., images: _Optional[_Union[ItemChanges, _Mapping]] = ..., offers_changed: _Optional[int] = ..., delta_bytes: _Optional[int] = ..., is_estimated: bool = ..., is_new_model: bool = ...) -> None: ...

class GetCatalogueRequest(_message.Message):
    __slots__ = ["catalogue"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    def __init__(self, catalogue: _Optional[str] = ...) -> None: ...

class GetCatalogueResponse(_message.Message):
    __slots__ = ["as_of", "dead_letters", "images", "products", "version", "waiting_images", "waiting_offers", "waiting_pictures", "waiting_products"]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WAITING_IMAGES_FIELD_NUMBER: _ClassVar[int]
    WAITING_OFFERS_FIELD_NUMBER: _ClassVar[int]
    WAITING_PICTURES_FIELD_NUMBER: _ClassVar[int]
    WAITING_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    as_of: int
    dead_letters: int
    images: int
    products: int
    version: int
    waiting_images: int
    waiting_offers: int
    waiting_pictures: int
    waiting_products: int
    def __init__(self, version: _Optional[int] = ..., as_of: _Optional[int] = ..., products: _Optional[int] = ..., images: _Optional[int] = ..., waiting_products: _Optional[int] = ..., waiting_offers: _Optional[int] = ..., waiting_images: _Optional[int] = ..., waiting_pictures: _Optional[int] = ..., dead_letters: _Optional[int] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ["catalogue", "job"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    job: int
    def __init__(self, catalogue: _Optional[str] = ..., job: _Optional[int] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ["job"]
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class IngestRequest(_message.Message):
    __slots__ = ["catalogue", "open", "operation", "operations", "picture_part"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PICTURE_PART_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    open: OpenJob
    operation: Operation
    operations: Operations
    picture_part: bytes
    def __init__(self, catalogue: _Optional[str] = ..., open: _Optional[_Union[OpenJob, _Mapping]] = ..., operation: _Optional[_Union[Operation, _Mapping]] = ..., picture_part: _Optional[bytes] = ..., operations: _Optional[_Union[Operations, _Mapping]] = ...) -> None: ...

class IngestResponse(_message.Message):
    __slots__ = ["opened", "outcome", "outcomes"]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    opened: Job
    outcome: Outcome
    outcomes: Outcomes
    def __init__(self, opened: _Optional[_Union[Job, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., outcomes: _Optional[_Union[Outcomes, _Mapping]] = ...) -> None: ...

class ItemChanges(_message.Message):
    __slots__ = ["added", "added_ids", "changed", "changed_ids", "deleted", "deleted_ids"]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    ADDED_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_IDS_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    DELETED_IDS_FIELD_NUMBER: _ClassVar[int]
    added: int
    added_ids: _containers.RepeatedScalarFieldContainer[str]
    changed: int
    changed_ids: _containers.RepeatedScalarFieldContainer[str]
    deleted: int
    deleted_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, added: _Optional[int] = ..., changed: _Optional[int] = ..., deleted: _Optional[int] = ..., added_ids: _Optional[_Iterable[str]] = ..., changed_ids: _Optional[_Iterable[str]] = ..., deleted_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ["caller", "counters", "ended_at", "kind", "number", "opened_at", "state"]
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    CALLER_FIELD_NUMBER: _ClassVar[int]
    CANCELLED: Job.State
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    DONE: Job.State
    EMBEDDING: Job.State
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    FULL_FEED: Job.Kind
    INGEST: Job.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    KIND_UNSPECIFIED: Job.Kind
    MODEL: Job.Kind
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OPEN: Job.State
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNSPECIFIED: Job.State
    caller: str
    counters: Counters
    ended_at: int
    kind: Job.Kind
    number: int
    opened_at: int
    state: Job.State
    def __init__(self, number: _Optional[int] = ..., kind: _Optional[_Union[Job.Kind, str]] = ..., state: _Optional[_Union[Job.State, str]] = ..., caller: _Optional[str] = ..., opened_at: _Optional[int] = ..., ended_at: _Optional[int] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ...) -> None: ...

class KeepImage(_message.Message):
    __slots__ = ["image_id"]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    def __init__(self, image_id: _Optional[str] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ["after", "catalogue", "limit"]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    after: int
    catalogue: str
    limit: int
    def __init__(self, catalogue: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ["letters"]
    LETTERS_FIELD_NUMBER: _ClassVar[int]
    letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    def __init__(self, letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ["before", "catalogue", "limit"]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    before: int
    catalogue: str
    limit: int
    def __init__(self, catalogue: _Optional[str] = ..., limit: _Optional[int] = ..., before: _Optional[int] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ["jobs"]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class OpenJob(_message.Message):
    __slots__ = ["expected", "is_full_feed", "job"]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    IS_FULL_FEED_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    expected: int
    is_full_feed: bool
    job: int
    def __init__(self, job: _Optional[int] = ..., is_full_feed: bool = ..., expected: _Optional[int] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ["delete_image", "delete_product", "keep_image", "patch_product", "put_image", "put_product", "request_id", "revision"]
    DELETE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    DELETE_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    KEEP_IMAGE_FIELD_NUMBER: _ClassVar[int]
    PATCH_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    PUT_IMAGE_FIELD_NUMBER: _ClassVar[int]
    PUT_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    delete_image: DeleteImage
    delete_product: DeleteProduct
    keep_image: KeepImage
    patch_product: PatchProduct
    put_image: PutImage
    put_product: PutProduct
    request_id: str
    revision: int
    def __init__(self, request_id: _Optional[str] = ..., revision: _Optional[int] = ..., put_product: _Optional[_Union[PutProduct, _Mapping]] = ..., patch_product: _Optional[_Union[PatchProduct, _Mapping]] = ..., delete_product: _Optional[_Union[DeleteProduct, _Mapping]] = ..., put_image: _Optional[_Union[PutImage, _Mapping]] = ..., delete_image: _Optional[_Union[DeleteImage, _Mapping]] = ..., keep_image: _Optional[_Union[KeepImage, _Mapping]] = ...) -> None: ...

class Operations(_message.Message):
    __slots__ = ["operations"]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ["is_embedding_reused", "is_repeated", "reason", "refusal", "request_id", "result", "version"]
    class Refusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Result(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    APPLIED: Outcome.Result
    INVALID: Outcome.Refusal
    IS_EMBEDDING_REUSED_FIELD_NUMBER: _ClassVar[int]
    IS_REPEATED_FIELD_NUMBER: _ClassVar[int]
    NOT_THERE_YET: Outcome.Refusal
    PICTURE_NEEDED: Outcome.Result
    REASON_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_UNSPECIFIED: Outcome.Refusal
    REFUSED: Outcome.Result
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_TAKEN: Outcome.Refusal
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RESULT_UNSPECIFIED: Outcome.Result
    SKIPPED: Outcome.Result
    UNCHANGED: Outcome.Result
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WAITING: Outcome.Result
    is_embedding_reused: bool
    is_repeated: bool
    reason: str
    refusal: Outcome.Refusal
    request_id: str
    result: Outcome.Result
    version: int
    def __init__(self, request_id: _Optional[str] = ..., result: _Optional[_Union[Outcome.Result, str]] = ..., reason: _Optional[str] = ..., version: _Optional[int] = ..., is_embedding_reused: bool = ..., is_repeated: bool = ..., refusal: _Optional[_Union[Outcome.Refusal, str]] = ...) -> None: ...

class Outcomes(_message.Message):
    __slots__ = ["outcomes"]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class PatchProduct(_message.Message):
    __slots__ = ["attributes", "price", "product_id", "removed_attributes", "stock"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    REMOVED_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    STOCK_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    price: _catalog_pb2.Price
    product_id: str
    removed_attributes: _containers.RepeatedScalarFieldContainer[str]
    stock: int
    def __init__(self, product_id: _Optional[str] = ..., price: _Optional[_Union[_catalog_pb2.Price, _Mapping]] = ..., stock: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ..., removed_attributes: _Optional[_Iterable[str]] = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ["allowed_gates", "catalogue", "parent", "rollout"]
    ALLOWED_GATES_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    allowed_gates: _containers.RepeatedScalarFieldContainer[str]
    catalogue: str
    parent: int
    rollout: float
    def __init__(self, catalogue: _Optional[str] = ..., parent: _Optional[int] = ..., allowed_gates: _Optional[_Iterable[str]] = ..., rollout: _Optional[float] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ["generations", "is_new", "version"]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    IS_NEW_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    generations: _containers.RepeatedCompositeFieldContainer[ServedGeneration]
    is_new: bool
    version: int
    def __init__(self, version: _Optional[int] = ..., is_new: bool = ..., generations: _Optional[_Iterable[_Union[ServedGeneration, _Mapping]]] = ...) -> None: ...

class PurgeDeadLettersRequest(_message.Message):
    __slots__ = ["catalogue", "numbers"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, catalogue: _Optional[str] = ..., numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class PurgeDeadLettersResponse(_message.Message):
    __slots__ = ["purged"]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    purged: int
    def __init__(self, purged: _Optional[int] = ...) -> None: ...

class PutImage(_message.Message):
    __slots__ = ["image", "picture", "picture_bytes", "picture_sha256", "product_ids"]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PICTURE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    PICTURE_SHA256_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    image: _catalog_pb2.Image
    picture: bytes
    picture_bytes: int
    picture_sha256: bytes
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, image: _Optional[_Union[_catalog_pb2.Image, _Mapping]] = ..., product_ids: _Optional[_Iterable[str]] = ..., picture_sha256: _Optional[bytes] = ..., picture: _Optional[bytes] = ..., picture_bytes: _Optional[int] = ...) -> None: ...

class PutProduct(_message.Message):
    __slots__ = ["product"]
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    product: _catalog_pb2.Product
    def __init__(self, product: _Optional[_Union[_catalog_pb2.Product, _Mapping]] = ...) -> None: ...

class ReplaceRequest(_message.Message):
    __slots__ = ["catalogue", "job", "lost_share", "revision"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    LOST_SHARE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    job: int
    lost_share: float
    revision: int
    def __init__(self, catalogue: _Optional[str] = ..., job: _Optional[int] = ..., revision: _Optional[int] = ..., lost_share: _Optional[float] = ...) -> None: ...

class ReplaceResponse(_message.Message):
    __slots__ = ["deleted_images", "deleted_products", "job"]
    DELETED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    DELETED_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    deleted_images: int
    deleted_products: int
    job: Job
    def __init__(self, deleted_products: _Optional[int] = ..., deleted_images: _Optional[int] = ..., job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class RetryDeadLettersRequest(_message.Message):
    __slots__ = ["catalogue", "numbers"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, catalogue: _Optional[str] = ..., numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class RetryDeadLettersResponse(_message.Message):
    __slots__ = ["retried"]
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    retried: int
    def __init__(self, retried: _Optional[int] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ["catalogue", "parent", "version"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    parent: int
    version: int
    def __init__(self, catalogue: _Optional[str] = ..., version: _Optional[int] = ..., parent: _Optional[int] = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ["changed"]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: int
    def __init__(self, changed: _Optional[int] = ...) -> None: ...

class ServedGeneration(_message.Message):
    __slots__ = ["id", "images", "products", "snapshot_bytes", "snapshot_version", "state_hash"]
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    images: int
    products: int
    snapshot_bytes: int
    snapshot_version: int
    state_hash: bytes
    def __init__(self, id: _Optional[bytes] = ..., state_hash: _Optional[bytes] = ..., images: _Optional[int] = ..., products: _Optional[int] = ..., snapshot_version: _Optional[int] = ..., snapshot_bytes: _Optional[int] = ...) -> None: ...

class WaitForJobRequest(_message.Message):
    __slots__ = ["catalogue", "job", "milliseconds"]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    catalogue: str
    job: int
    milliseconds: int
    def __init__(self, catalogue: _Optional[str] = ..., job: _Optional[int] = ..., milliseconds: _Optional[int] = ...) -> None: ...

class WaitForJobResponse(_message.Message):
    __slots__ = ["job"]
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...
