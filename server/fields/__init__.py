"""Reading the words of both protocols into values, with errors that name the field."""

from server.fields.calibration import calibrated_by
from server.fields.corrections import labels_of
from server.fields.filters import filter_of
from server.fields.ids import is_id
from server.fields.json_text import json_of
from server.fields.labels import label_of, query_camera_of
from server.fields.records import record_of, records_of
from server.fields.thresholds import AllowedAlarms, allowed_alarms, cosine, threshold_of
from server.fields.tiers import TIER_CHOICES, tiers_of
from server.fields.times import iso, time_of

__all__ = [
    "TIER_CHOICES",
    "AllowedAlarms",
    "allowed_alarms",
    "calibrated_by",
    "cosine",
    "filter_of",
    "is_id",
    "iso",
    "json_of",
    "label_of",
    "labels_of",
    "query_camera_of",
    "record_of",
    "records_of",
    "threshold_of",
    "tiers_of",
    "time_of",
]
