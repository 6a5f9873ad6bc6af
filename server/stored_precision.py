"""In which precision a bundle embedded what a store holds."""

from __future__ import annotations

from reid.bundle import Bundle
from reid.engines.agreement import FLOORS
from reid.profile import space_id, tables_id_of
from server.gallery.store import Store


def stored_precision(bundle: Bundle, store: Store) -> str | None:
    """In which precision (`Bundle.precision_id`) the live galleries were embedded, as far as this bundle made
    them; None where there are none."""
    precisions = [name for name in FLOORS if name != "int8"]
    if bundle.manifest.int8 is not None:
        precisions.append(bundle.precision_id("int8"))
    for live in store.versions.live():
        tables = tables_id_of(live.profile_id)
        for precision in precisions:
            space = space_id(bundle.base_id, tables, bundle.manifest.preprocessing, precision)
            if live.raw_space_id == space:
                return precision
    return None
