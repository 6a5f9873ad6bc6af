"""What the scores of a site mean: measured again in each space that goes live, by labels of its own items
where they suffice; otherwise carried over from the space before, and marked as a guess.

A module for each kind of label, over one plain `Source`: `by_names`, `by_tracks` and `by_answers`.
"""

from server.calibration.by_answers import FEWEST_ANSWERS
from server.calibration.card import carried_over, of_card
from server.calibration.labels import labels_again, of_labels
from server.calibration.source import FEWEST_PEOPLE, FEWEST_TRACKS, Source, TooFewLabels

__all__ = [
    "FEWEST_ANSWERS",
    "FEWEST_PEOPLE",
    "FEWEST_TRACKS",
    "Source",
    "TooFewLabels",
    "carried_over",
    "labels_again",
    "of_card",
    "of_labels",
]
