"""A dataset's query and gallery over HTTP, scored from the responses, beside the same bundle offline.

python -m benchmarks.end_to_end --bundle bot.resight --dataset market1501 --data ROOT
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from resight_client import Client
from rich.progress import track

from benchmarks.serving import ServerProcess
from reid.ranking import RankingScores, rank_hits
from training.data import read_dataset
from training.data.records import Dataset, Record
from training.evaluate import evaluate, of_queries, open_embedder, query_counts

SITE = "end-to-end"
TOLERANCE = 0.1  # percentage points
_BATCH = 64
_CLIENTS = 4
_SHALLOW = 2_000  # most queries have all their positives among these; the others are sent again for all


def served(url: str, dataset: Dataset) -> RankingScores:
    """Enrolls the gallery, sends every query and scores the responses under the dataset's camera rule."""
    batches = [dataset.gallery[start : start + _BATCH] for start in range(0, len(dataset.gallery), _BATCH)]
    expected: dict[str, list[int]] = {}
    for record in dataset.gallery:
        expected.setdefault(str(record.pid), []).append(record.camid)
    with Client(url, timeout_s=600) as client, ThreadPoolExecutor(_CLIENTS) as pool:

        def enroll(batch: list[Record]) -> int:
            records = [{"identity": str(r.pid), "camera": str(r.camid)} for r in batch]
            return len(client.enroll(SITE, [r.path for r in batch], records=records).items)

        def ask(query: Record) -> np.ndarray:
            right = sum(
                dataset.ignore_camera or camera != query.camid for camera in expected.get(str(query.pid), [])
            )
            for top_k in (_SHALLOW, len(dataset.gallery)):
                matches = client.query(SITE, query.path, top_k=top_k).matches
                same = np.array([m.identity == str(query.pid) for m in matches], bool)
                dropped = same & np.array(
                    [m.camera == str(query.camid) and not dataset.ignore_camera for m in matches], bool
                )
                hits = np.cumsum(~dropped)[same & ~dropped]
                if len(hits) == right:
                    return hits
            raise RuntimeError(f"{query.path.name}: {len(hits)} of its {right} positives were returned")

        count = sum(track(pool.map(enroll, batches), "enrolling over HTTP", len(batches)))
        if count != len(dataset.gallery):
            raise RuntimeError(f"{count} of {len(dataset.gallery)} crops were enrolled")
        return rank_hits(list(track(pool.map(ask, dataset.query), "querying over HTTP", len(dataset.query))))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--dataset", default="market1501")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.dataset, arguments.data)
    embed, size, engine = open_embedder(arguments.bundle)
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(arguments.bundle, Path(folder) / "data") as server,
    ):
        over_http = served(server.url, dataset)
    offline = evaluate(embed, dataset, size)
    queries = of_queries(query_counts(over_http))
    print(f"{dataset.name}, {len(dataset.gallery)} gallery crops, {queries}, {engine}")
    print(f"{'':8} {'HTTP':>7} {'offline':>7} {'apart':>7}")
    apart = []
    for name, http, bare in (
        ("mAP", over_http.mean_ap, offline.mean_ap),
        ("rank-1", over_http.rank(1), offline.rank(1)),
        ("rank-5", over_http.rank(5), offline.rank(5)),
        ("mINP", over_http.mean_inp, offline.mean_inp),
    ):
        apart.append(abs(http - bare) * 100)
        print(f"{name:8} {100 * http:7.2f} {100 * bare:7.2f} {apart[-1]:7.3f}")
    raise SystemExit(0 if max(apart) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
