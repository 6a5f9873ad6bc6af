"""Every setting of the server. Each is also an environment variable: `RESIGHT_<NAME>`, for `data`
`RESIGHT_GALLERY`, since `RESIGHT_DATA` is the root of training datasets."""

from __future__ import annotations

import ipaddress
import logging
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reid.engine_names import CHOICES
from reid.images import Limits
from server.gallery.index import SHORTLIST

log = logging.getLogger("resight")
FEWEST_SAMPLES, MOST_SAMPLES = 16, 16_384  # crops that one adaptation may look at


class GallerySettings(BaseSettings):
    """Where the gallery is; enough for the commands that only need that."""

    model_config = SettingsConfigDict(env_prefix="RESIGHT_", extra="ignore")

    data: Path = Field(
        default=Path("resight-data"),
        validation_alias=AliasChoices("data", "RESIGHT_GALLERY"),
        description="where the gallery is kept, and what an adaptation works with",
    )
    store: str | None = Field(
        default=None,
        description="a database for the gallery: sqlite:///PATH or postgresql://USER@HOST/NAME; default: the "
        "file gallery.db in the data folder",
    )

    @property
    def place(self) -> str | Path:
        """What `Store` opens."""
        return self.store or self.data


class Settings(GallerySettings):
    """What the server is started with; the defaults suit one machine without a GPU."""

    bundle: Path = Field(description="the .resight folder to serve")
    host: str = Field(
        default="127.0.0.1", description="address of both ports; 0.0.0.0 and :: are every one, IPv4 and IPv6"
    )
    port: int = Field(default=8000, ge=0, le=65535)
    grpc_port: int = Field(default=8001, ge=0, le=65535, description="0: no gRPC")
    tls_cert: Path | None = Field(
        default=None, description="certificate chain in PEM: both ports speak TLS; goes with tls_key"
    )
    tls_key: Path | None = Field(default=None, description="its private key in PEM, without a passphrase")
    root_path: str = Field(
        default="", description="path under which a reverse proxy shows the server, like /resight"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="web pages that may call the server from a browser: origins like https://example.org, "
        "separated by commas, or *; default: none",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: str = Field(default="auto", description=CHOICES)
    search: Literal["auto", "cpu", "gpu"] = Field(
        default="cpu",
        description="where galleries are searched; auto: by FAISS on a GPU where that works, gpu: an error "
        "where it does not; docs/gpu.md",
    )
    index: str = Field(
        default="exact",
        description="how the CPU searches galleries. exact: a scan; int8: the same answers sooner, for half "
        "as much memory again; HNSW32,SQfp16, IVF4096,SQ8 and the like (FAISS's words): approximate, for "
        "sites of at least index_from items; milvus: the same answers as exact by Milvus, outside of this "
        "process; docs/serving.md, docs/scaling.md",
    )
    index_from: int = Field(default=1_000_000, ge=1, description="items from which such an index is built")
    milvus_uri: str = Field(
        default="http://127.0.0.1:19530",
        description="of index=milvus: where Milvus listens, http://HOST:PORT or https://HOST:PORT, perhaps "
        "with /DATABASE behind; a path that ends in .db is a file of milvus-lite",
    )
    milvus_token: SecretStr | None = Field(
        default=None, description="USER:PASSWORD or an API key for Milvus; default: it asks for none"
    )
    milvus_log_days: float = Field(
        default=3.0,
        ge=0,
        description="how long Milvus keeps its log, as it is configured there "
        "(rocksmq.retentionTimeInMinutes, 4320): until then, at least, it has vectors of what was erased, "
        "which an erasure's answer says",
    )
    standby: bool = Field(
        default=False,
        description="while another server has the gallery, wait until it is free; docs/store.md",
    )
    reembed: bool = Field(
        default=False, description="re-embed galleries another model made, instead of refusing to start"
    )
    auth: Literal["auto", "on", "off"] = Field(
        default="auto", description="auto: keys are required unless host is loopback"
    )
    keep_images: bool = Field(
        default=True, description="False keeps embeddings only; sites can be adapted by tier 0 alone then"
    )

    spent_key_days: float = Field(
        default=7.0,
        ge=0,
        description="how long an Idempotency-Key is refused after every item that it enrolled was erased; "
        "it is deleted at the next start or erasure after that time, at most once an hour",
    )

    journal_days: float = Field(
        default=30.0, gt=0, description="how long a correction can be undone; then its entry is deleted"
    )
    max_request_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1, description="one request's body, and one answer over gRPC"
    )
    max_inflight_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1,
        description="bytes of all bodies that have arrived and are being worked on; HTTP and gRPC are "
        "counted apart",
    )
    max_header_bytes: int = Field(default=16 * 1024, ge=1, description="one HTTP request's line and headers")
    max_connections: int = Field(
        default=1024, ge=4, description="open HTTP connections; as many gRPC connections again"
    )
    max_connections_per_peer: int = Field(
        default=256,
        ge=0,
        description="open HTTP connections of one address, 0: no limit; behind a reverse proxy all callers "
        "share its address",
    )
    header_timeout_s: float = Field(
        default=10.0, gt=0, description="how long a new connection or request may take until its headers end"
    )
    body_timeout_s: float = Field(
        default=300.0,
        gt=0,
        description="how long the server waits for the bytes of one body, in all, and for a gRPC client to "
        "read one message",
    )
    min_bytes_per_s: float = Field(
        default=1024.0, gt=0, description="lowest rate at which a body may arrive and an answer be read"
    )
    pace_window_s: float = Field(
        default=15.0, gt=0, description="time over which min_bytes_per_s is averaged: the longest pause"
    )
    keep_alive_s: float = Field(
        default=20.0, gt=0, description="how long an HTTP connection stays open between two requests"
    )
    max_grpc_calls: int = Field(
        default=64, ge=1, description="gRPC calls at once; more are answered RESOURCE_EXHAUSTED"
    )
    max_grpc_calls_per_peer: int | None = Field(
        default=None,
        ge=0,
        description="gRPC calls of one address at once, 0: no limit; default: three quarters of "
        "max_grpc_calls; behind a reverse proxy all callers share its address. Connections of one address "
        "cannot be limited: gRPC has no such limit",
    )
    grpc_connection_age_s: float = Field(
        default=3600.0,
        gt=0,
        le=86_400,
        description="how long a gRPC connection takes new calls; running ones may go on as long again, then "
        "it is closed, with whatever its client did not read",
    )
    max_grpc_message_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        description="one gRPC message; it is in memory before it can be counted, so larger enrolls go "
        "through EnrollStream or HTTP",
    )
    max_images: int = Field(default=1000, ge=1, description="crops of one enroll request")
    max_tracklet: int = Field(default=64, ge=1, description="crops of one query")
    max_top_k: int = Field(default=20_000, ge=1)
    max_image_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    max_pixels: int = Field(default=24_000_000, ge=1)
    max_queued_crops: int = Field(
        default=4096, ge=1, description="crops waiting for the engine before requests are refused"
    )
    max_engine_bytes: int = Field(
        default=1024 * 1024 * 1024,
        description="memory for compiled engines of adapted sites, by estimate; one is always kept",
    )
    adapt_samples: int = Field(
        default=4096,
        ge=FEWEST_SAMPLES,
        le=MOST_SAMPLES,
        description="most crops an adaptation looks at",
    )
    adapt_silence_s: float = Field(
        default=600.0,
        gt=0,
        description="an adaptation's process that reports nothing for this long is ended and the job fails",
    )
    decode_threads: int = Field(default=2, ge=1)
    drain_s: float = Field(default=10.0, ge=0, description="how long requests may finish after Ctrl-C")

    @field_validator("port", "grpc_port", mode="before")
    @classmethod
    def _ignore_kubernetes(cls, value: Any, info: ValidationInfo) -> Any:
        """Kubernetes gives every container RESIGHT_PORT=tcp://ADDRESS:PORT of a service called resight."""
        if not isinstance(value, str) or not re.match(r"[a-z]+://", value):
            return value
        name = str(info.field_name)
        default = cls.model_fields[name].default
        log.warning(
            "RESIGHT_%s=%s is what Kubernetes says about a service, no setting; it is ignored "
            "(the port is %s)",
            name.upper(),
            value,
            default,
        )
        return default

    @field_validator("index")
    @classmethod
    def _require_index(cls, index: str, info: ValidationInfo) -> str:
        if index not in ("exact", "int8", "milvus") and not SHORTLIST.fullmatch(index):
            raise ValueError(
                f"{index!r} is no index; choose exact, int8, milvus, HNSWn or IVFn, these perhaps with ,Flat "
                ",SQfp16 or ,SQ8 behind, like IVF4096,SQ8"
            )
        if index != "exact" and info.data.get("search") != "cpu":
            raise ValueError(f"{index} is for search=cpu; a GPU scans its rows")
        return index

    @field_validator("milvus_uri")
    @classmethod
    def _require_uri(cls, uri: str) -> str:
        if not re.fullmatch(r"https?://[^/\s]+(/[A-Za-z0-9_]+)?|[^\s]+\.db", uri):
            raise ValueError(f"{uri!r} is no address of Milvus; like http://127.0.0.1:19530")
        return uri

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        host = host.removeprefix("[").removesuffix("]")
        if not host:
            raise ValueError("it is empty; give an address, like 127.0.0.1 or ::")
        return host

    @field_validator("root_path")
    @classmethod
    def _require_path(cls, path: str) -> str:
        path = path.rstrip("/")
        if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
            raise ValueError(f"{path!r} is no path; like /resight")
        return path

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, origins: Any) -> Any:
        if isinstance(origins, str):
            origins = tuple(origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip())
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(f"{origin!r} is no origin; like https://example.org, or * for every page")
        return origins

    @model_validator(mode="after")
    def _require_both_of_tls(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, lacking = ("tls_cert", "tls_key") if self.tls_key is None else ("tls_key", "tls_cert")
            raise ValueError(f"{given} is given without {lacking}; TLS needs both")
        return self

    @field_validator("max_grpc_calls_per_peer")
    @classmethod
    def _require_room_for_others(cls, per_peer: int | None, info: ValidationInfo) -> int | None:
        limit = info.data.get("max_grpc_calls")
        if per_peer and limit is not None and per_peer > limit:
            raise ValueError(f"{per_peer} is more than max_grpc_calls, which is {limit}")
        return per_peer

    @property
    def grpc_calls_per_peer(self) -> int:
        """gRPC calls of one address at once, 0: no limit."""
        if self.max_grpc_calls_per_peer is None:
            return max(1, self.max_grpc_calls * 3 // 4)
        return self.max_grpc_calls_per_peer

    @property
    def limits(self) -> Limits:
        """What an image may be."""
        return Limits(max_bytes=self.max_image_bytes, max_pixels=self.max_pixels)

    @property
    def spent_key_s(self) -> float:
        """`spent_key_days` in seconds."""
        return 86_400 * self.spent_key_days

    @property
    def journal_s(self) -> float:
        """`journal_days` in seconds."""
        return 86_400 * self.journal_days

    @property
    def needs_key(self) -> bool:
        """Whether requests must carry an API key."""
        return self.auth == "on" or (self.auth == "auto" and not is_loopback(self.host))


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
