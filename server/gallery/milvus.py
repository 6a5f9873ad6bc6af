"""Rows of one gallery in Milvus: numbers and vectors, no names and no metadata.

Rows are inserted and deleted, never upserted: Milvus 2.3.5 puts an upserted row into a partition by its
primary key, where a search of the site's partition does not find it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from server.errors import StartError

log = logging.getLogger("resight")
MOST = 16_384  # rows that Milvus returns of one search
_TIMEOUT_S, _LONG_TIMEOUT_S = 5.0, 60.0  # of a search; of a write, a listing, or loading a collection
_PARTITIONS = 64  # of a collection; a site's rows are all in one of them
_LISTED_AT_ONCE, _DELETED_AT_ONCE = 5_000, 2_000
_FIELDS = ("site", "space", "seq", "digest")
NO_CAMERA = 0


class MilvusAway(Exception):
    """Milvus does not answer, or refuses; the sentence says how."""


class MilvusRow(NamedTuple):
    """A row without its vector.

    Args:
        space: number of the index that wrote it. digest: of its vector and camera.
    """

    site: str
    space: int
    seq: int
    digest: int


class MilvusRows:
    """The collection of a gallery. Each method raises MilvusAway.

    Args:
        uri: of the server, with the name of a database behind it where it is not the default one; a file for
            milvus-lite. token: `user:password`, or an API key. gallery: id of the gallery. dim: length of the
            vectors.

    Raises StartError where pymilvus is not installed.
    """

    def __init__(self, uri: str, token: str | None, gallery: str, dim: int) -> None:
        try:
            import pymilvus
        except ImportError as error:
            raise StartError(
                f"RESIGHT_INDEX=milvus needs pymilvus ({error}); install it: pip install 'resight[milvus]'"
            ) from error
        # it logs what it raises, with tracebacks; that is said here once, in a sentence
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self.library: Any = pymilvus
        self.uri, self.token, self.dim = uri, token, dim
        self.collection = f"resight_{gallery}_{dim}"
        self.client: Any = None

    def connect(self) -> None:
        """Opens a connection, another one where there was one, and makes the collection if it is missing."""
        self.close()

        def connected() -> None:
            self.client = self.library.MilvusClient(
                self.uri, token=self.token or "", timeout=_TIMEOUT_S, dedicated=True
            )
            if not self.client.has_collection(self.collection, timeout=_TIMEOUT_S):
                self._make()
            self.client.load_collection(self.collection, timeout=_LONG_TIMEOUT_S)

        self._ask(connected)

    def close(self) -> None:
        """Closes the connection."""
        if self.client is not None:
            try:
                self.client.close()
            except Exception as error:  # it is given up anyway
                log.debug("the connection to Milvus did not close: %s", error)
            self.client = None

    def insert(
        self,
        site: str,
        space: int,
        seqs: Sequence[int],
        cameras: Sequence[str | None],
        digests: Sequence[int],
        vectors: np.ndarray,
    ) -> None:
        """Adds rows of seqs that have none in this space. vectors: float32 [N,D]."""
        rows = []
        for seq, camera, digest, vector in zip(seqs, cameras, digests, vectors, strict=True):
            numbers = {"space": space, "seq": int(seq), "camera": camera_number(camera), "digest": digest}
            rows.append({"key": _key(space, seq), "site": site, **numbers, "vector": vector})
        self._ask(lambda: self.client.insert(self.collection, rows, timeout=_LONG_TIMEOUT_S))

    def delete(self, space: int, seqs: Sequence[int]) -> None:
        """Deletes rows of seqs; those that have none are ignored."""
        for start in range(0, len(seqs), _DELETED_AT_ONCE):
            keys = [_key(space, seq) for seq in seqs[start : start + _DELETED_AT_ONCE]]
            self._ask(
                lambda keys=keys: self.client.delete(self.collection, ids=keys, timeout=_LONG_TIMEOUT_S)
            )

    def delete_space(self, site: str, space: int) -> bool:
        """Deletes every row of a space at a site. Returns whether none is left."""
        which = _where(site, space)
        self._ask(lambda: self.client.delete(self.collection, filter=which, timeout=_LONG_TIMEOUT_S))
        return not self._query(which, ["seq"], limit=1)

    def digests(self, space: int, seqs: Sequence[int]) -> dict[int, int]:
        """Which of these seqs (2,000 at most) have rows in a space by now, and with what digest."""
        keys = ", ".join(f'"{_key(space, seq)}"' for seq in seqs)
        rows = self._query(f"key in [{keys}]", ["seq", "digest"], limit=MOST)
        return {row["seq"]: row["digest"] for row in rows}

    def of_space(self, site: str, space: int) -> dict[int, int]:
        """The digest of every seq that has a row in a space at a site."""
        return {row.seq: row.digest for row in self._listed(_where(site, space))}

    def all(self) -> Iterator[MilvusRow]:
        """Every row of the gallery."""
        return self._listed("seq >= 0")

    def search(
        self, site: str, space: int, vector: np.ndarray, limit: int, condition: str = ""
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 [D] -> (scores float32 [n], seqs int64 [n]), best first, n = `limit` if there are as many.

        Args:
            limit: `MOST` at most. condition: on the rows, beside the space, in Milvus's words.
        """
        which = _where(site, space) + (f" and {condition}" if condition else "")
        # Bounded: an older state than the newest by a few seconds, without waiting; the index knows what is
        # younger
        found = self._ask(
            lambda: self.client.search(
                self.collection,
                [vector],
                limit=limit,
                filter=which,
                output_fields=["seq"],
                search_params={"metric_type": "IP"},
                consistency_level="Bounded",
                timeout=_TIMEOUT_S,
            )
        )[0]
        scores = np.fromiter((hit["distance"] for hit in found), np.float32, len(found))
        return scores, np.fromiter((hit["entity"]["seq"] for hit in found), np.int64, len(found))

    def _make(self) -> None:
        kinds = self.library.DataType
        schema = self.library.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", kinds.VARCHAR, is_primary=True, max_length=48)
        schema.add_field("site", kinds.VARCHAR, max_length=64, is_partition_key=True)
        for name in ("space", "seq", "camera", "digest"):
            schema.add_field(name, kinds.INT64)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=self.dim)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self.client.create_collection(
            self.collection,
            schema=schema,
            index_params=index,
            num_partitions=_PARTITIONS,
            timeout=_LONG_TIMEOUT_S,
        )

    def _query(self, which: str, fields: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """Rows by everything that was written before."""
        ask = {"output_fields": list(fields), "consistency_level": "Strong", "limit": limit}
        return self._ask(
            lambda: self.client.query(self.collection, filter=which, timeout=_LONG_TIMEOUT_S, **ask)
        )

    def _listed(self, which: str) -> Iterator[MilvusRow]:
        listing = self._ask(
            lambda: self.client.query_iterator(
                self.collection,
                batch_size=_LISTED_AT_ONCE,
                filter=which,
                output_fields=list(_FIELDS),
                consistency_level="Strong",
                timeout=_LONG_TIMEOUT_S,
            )
        )
        while rows := self._ask(listing.next):
            for row in rows:
                yield MilvusRow(*(row[name] for name in _FIELDS))
        self._ask(listing.close)

    def _ask(self, call: Any) -> Any:
        """What a call of pymilvus returns."""
        import grpc

        try:
            return call()
        except (self.library.MilvusException, grpc.RpcError, OSError, AttributeError, ValueError) as error:
            # AttributeError, ValueError: pymilvus's and gRPC's words for a connection that was closed
            reason = " ".join(str(getattr(error, "message", None) or error).split())
            raise MilvusAway(f"Milvus at {self.uri} does not answer: {reason[:300]}") from error


def camera_number(camera: str | None) -> int:
    """What stands for a camera in Milvus: an integer, so that its name needs no quoting there."""
    return NO_CAMERA if camera is None else 1 + (_hash(camera.encode("utf-8", "surrogatepass")) >> 2)


def digest_of(camera: str | None, halves: bytes) -> int:
    """int64 that tells a row from the same item's row of another vector or camera."""
    return _hash(halves + camera_number(camera).to_bytes(8, "little")) - (1 << 63)


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _key(space: int, seq: int) -> str:
    return f"{space:x}.{seq}"


def _where(site: str, space: int) -> str:
    return f'site == "{site}" and space == {space}'  # the names of sites need no quoting
