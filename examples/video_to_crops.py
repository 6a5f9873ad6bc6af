"""Cuts the people out of a video, one JPEG for each detection, named by camera and time.

python examples/video_to_crops.py hall.mp4 --detector person-detection-retail-0013.xml --camera hall \\
    --start 2026-05-04T09:30:00Z --out crops
resight enroll crops --site shop --pattern '(?P<camera>[^_]+)_(?P<captured_at>[0-9.]+)_'

Needs the extras `cpu` and `video`, and an SSD-style person detector in OpenVINO's format: one BGR image
[1,3,H,W] in, rows (image, label, confidence, left, top, right, bottom) out, with sides as shares of the
frame.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

# OpenVINO would report over the network that it was imported; without this package it does not
sys.modules.setdefault("openvino_telemetry", types.ModuleType("openvino_telemetry"))
import openvino  # noqa: E402

JPEG_QUALITY = 95
Detect = Callable[[np.ndarray], np.ndarray]


class InputError(ValueError):
    """A video, detector or time that cannot be used."""


def frames(video: Path, step_s: float) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds since the start, uint8 BGR [H,W,3]) of one frame every `step_s` seconds."""
    source = cv2.VideoCapture(str(video))
    if not source.isOpened():
        raise InputError(f"{video} does not exist or is not a video that OpenCV can read")
    rate = source.get(cv2.CAP_PROP_FPS) or 25.0  # raw streams do not say
    every = max(1, round(step_s * rate))
    number = 0
    while source.grab():
        if number % every == 0:
            fine, frame = source.retrieve()
            if fine:
                yield number / rate, frame
        number += 1
    if number == 0:
        raise InputError(f"{video} has no frame that OpenCV can read")


def load_detector(path: Path) -> Detect:
    """A function from a frame to boxes float32 [N,5]: confidence, left, top, right, bottom (shares of it)."""
    if not path.is_file() or path.suffix != ".xml":
        raise InputError(f"detector {path} does not exist or is not an .xml file of OpenVINO")
    try:
        model = openvino.Core().compile_model(str(path), "CPU")
        _, channels, height, width = model.input(0).shape
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{path} is not a detector that OpenVINO can read: {str(error).strip().splitlines()[-1]}"
        ) from error
    if channels != 3 or model.output(0).shape[-1] != 7:
        raise InputError(
            f"{path} is not an SSD-style detector: it must take [1,3,H,W] and return rows of 7 values"
        )

    def detect(frame: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)[None]
        return np.asarray(model(small)[0]).reshape(-1, 7)[:, 2:]

    return detect


def people(
    frame: np.ndarray, boxes: np.ndarray, confidence: float, margin: float, smallest: int
) -> list[np.ndarray]:
    """Crops [h,w,3] of the confident boxes that are at least `smallest` pixels high.

    `margin` widens each box by a share of its size.
    """
    rows, columns = frame.shape[:2]
    crops = []
    for _, left, top, right, bottom in boxes[boxes[:, 0] >= confidence]:
        wider, taller = margin * (right - left), margin * (bottom - top)
        x0, x1 = (round(columns * min(1.0, max(0.0, x))) for x in (left - wider, right + wider))
        y0, y1 = (round(rows * min(1.0, max(0.0, y))) for y in (top - taller, bottom + taller))
        if y1 - y0 >= smallest and x1 > x0:
            crops.append(frame[y0:y1, x0:x1])
    return crops


def cut(
    video: Path, detect: Detect, out: Path, camera: str, start_s: float, step_s: float, confidence: float
) -> int:
    """Writes the crops of a video into `out`; returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for seconds, frame in frames(video, step_s):
        for number, crop in enumerate(people(frame, detect(frame), confidence, margin=0.03, smallest=64)):
            target = out / f"{camera}_{start_s + seconds:.3f}_{number}.jpg"
            if not cv2.imwrite(str(target), crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
                raise InputError(f"{target} cannot be written")
            count += 1
    return count


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument(
        "--detector", type=Path, required=True, help="the .xml of an OpenVINO person detector"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the crops")
    parser.add_argument("--camera", required=True, help="name of the camera, without '_' and '/'")
    parser.add_argument(
        "--start", required=True, help="when the video starts, ISO 8601; UTC where it has no offset"
    )
    parser.add_argument("--every", type=float, default=0.5, help="seconds between the frames to detect in")
    parser.add_argument("--confidence", type=float, default=0.7, help="lowest confidence of a detection")
    options = parser.parse_args()
    try:
        if not options.camera or set(options.camera) & set("_/"):
            raise InputError(f"camera {options.camera!r}: choose a name without '_' and '/'")
        try:
            start = datetime.datetime.fromisoformat(options.start.replace("Z", "+00:00"))
        except ValueError:
            raise InputError(f"--start {options.start}: write it like 2026-05-04T09:30:00Z") from None
        begin = (start if start.tzinfo else start.replace(tzinfo=datetime.timezone.utc)).timestamp()
        count = cut(
            options.video,
            load_detector(options.detector),
            options.out,
            options.camera,
            begin,
            options.every,
            options.confidence,
        )
    except InputError as error:
        sys.exit(f"video_to_crops: {error}")
    print(f"{count} crops in {options.out}")


if __name__ == "__main__":
    main()
