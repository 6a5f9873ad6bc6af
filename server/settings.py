"""Every setting of the server. Each is also an environment variable `RESIGHT_<NAME>` (`data`:
`RESIGHT_GALLERY`)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from reid.images import Limits
from server.gallery.database import sqlite_url


class Settings(BaseSettings):
    """What the server is started with; the defaults suit one machine without a GPU."""

    model_config = SettingsConfigDict(env_prefix="RESIGHT_", extra="ignore")

    bundle: Path = Field(description="the .resight folder to serve")
    data: Path = Field(
        default=Path("resight-data"),
        validation_alias=AliasChoices(
            "data", "RESIGHT_GALLERY"
        ),  # RESIGHT_DATA is the root of training datasets
        description="where the gallery is kept",
    )
    store: str | None = Field(
        default=None,
        description="where items are kept: sqlite:///PATH or postgresql://USER@HOST/NAME; "
        "default: the file gallery.db in the data folder",
    )
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int = Field(default=8001, description="0: no gRPC")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: str = Field(
        default="auto", description="auto, or one of tensorrt, cuda, openvino, onnxruntime, torch"
    )
    reembed: bool = Field(
        default=False, description="re-embed galleries another model made, instead of refusing to start"
    )
    auth: Literal["auto", "on", "off"] = Field(
        default="auto", description="auto: keys are required unless host is loopback"
    )
    keep_images: bool = Field(
        default=True, description="False keeps embeddings only; sites cannot be adapted then"
    )

    max_request_bytes: int = Field(default=256 * 1024 * 1024, description="one request's body")
    max_inflight_bytes: int = Field(
        default=512 * 1024 * 1024, description="bodies being received or worked on, together"
    )
    max_images: int = Field(default=1000, description="crops of one enroll request")
    max_tracklet: int = Field(default=64, description="crops of one query")
    max_top_k: int = 20_000
    max_image_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 24_000_000
    max_queued_crops: int = Field(
        default=4096, description="crops waiting for the engine before requests are refused"
    )
    max_engine_bytes: int = Field(
        default=1024 * 1024 * 1024,
        description="memory for compiled engines of adapted sites, by estimate; one is always kept",
    )
    adapt_samples: int = Field(default=4096, description="most crops an adaptation looks at")
    adapt_silence_s: float = Field(
        default=600.0,
        gt=0,
        description="an adaptation's process that reports nothing for this long is ended and the job fails",
    )
    decode_threads: int = 2
    drain_s: float = Field(default=10.0, description="how long requests may finish after Ctrl-C")

    @property
    def store_url(self) -> str:
        """The URL of the store."""
        return self.store or sqlite_url(self.data)

    @property
    def limits(self) -> Limits:
        """What an image may be."""
        return Limits(max_bytes=self.max_image_bytes, max_pixels=self.max_pixels)

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
