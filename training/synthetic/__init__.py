"""Generated people: `drawn.py` draws them quickly, the other files render them as a world of sites."""
