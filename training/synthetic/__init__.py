"""Generated people. So far the fast drawer; it needs no data, no network and no GPU."""
