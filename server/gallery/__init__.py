"""The gallery: `store` is the truth (SQL), `index` is a cache of it that answers searches."""
