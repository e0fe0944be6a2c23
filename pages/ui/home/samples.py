"""The sample models that ship with the explorer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "sample_models"


@dataclass(frozen=True, slots=True)
class Variant:
    """The network of a sample trained another way, to compare it with; same data."""

    name: str
    title: str
    metric_value: float
    size_bytes: int

    @property
    def model_bytes(self) -> bytes:
        """The .onnx file."""
        return (FOLDER / f"{self.name}.onnx").read_bytes()


@dataclass(frozen=True, slots=True)
class SampleCard:
    """What Home says about a sample; measured by ``sample_models/build.py``."""

    name: str
    title: str
    task: str
    data: str
    metric: str
    metric_value: float
    size_bytes: int
    class_names: tuple[str, ...] | None
    image_shape: tuple[int, int] | None
    interesting: str
    variants: tuple[Variant, ...]

    @property
    def model_bytes(self) -> bytes:
        """The .onnx file."""
        return (FOLDER / f"{self.name}.onnx").read_bytes()

    @property
    def data_bytes(self) -> bytes:
        """The .npz file."""
        return (FOLDER / f"{self.name}.npz").read_bytes()


@lru_cache(maxsize=1)
def cards() -> dict[str, SampleCard]:
    """Return the samples by name, in display order."""
    entries = json.loads((FOLDER / "cards.json").read_text(encoding="utf-8"))
    return {entry["name"]: _card(entry) for entry in entries}


def _card(entry: dict) -> SampleCard:  # type: ignore[type-arg]
    names, image = entry["class_names"], entry["image_shape"]
    return SampleCard(
        name=entry["name"],
        title=entry["title"],
        task=entry["task"],
        data=entry["data"],
        metric=entry["float_metric"]["name"],
        metric_value=entry["float_metric"]["value"],
        size_bytes=entry["size_bytes"],
        class_names=tuple(names) if names else None,
        image_shape=(image[0], image[1]) if image else None,
        interesting=entry["interesting"],
        variants=tuple(
            Variant(v["name"], v["title"], v["float_metric"]["value"], v["size_bytes"])
            for v in entry["variants"]
        ),
    )
