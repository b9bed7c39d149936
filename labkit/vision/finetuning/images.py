"""The images that a detector is trained on: checked labels in Ultralytics' data set."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ultralytics.data.dataset import YOLODataset  # only imported behind `ultralytics()`

if TYPE_CHECKING:
    from labkit.vision.data import DataSet


class Images(YOLODataset):  # type: ignore[misc]
    """Ultralytics' data set over files that are checked already: nothing is read twice.

    Its own would scan the labels again, and leave a `labels.cache` among the user's files.
    """

    def __init__(self, data_set: DataSet, split: str, **settings: Any) -> None:
        self._checked = (data_set, split)
        super().__init__(img_path="", data=data_set.config(), task="detect", **settings)

    def get_img_files(self, img_path: Any) -> list[str]:
        """The image files, in the order of `get_labels`."""
        data_set, split = self._checked
        return [str(path) for path in getattr(data_set, split)]

    def get_labels(self) -> list[dict[str, Any]]:
        """The labels, as they were read when the data set was checked."""
        data_set, split = self._checked
        return data_set.records(split)

    def cache_images(self) -> None:
        """Decode and fit every image once, without a progress bar."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for i, found in enumerate(threads.map(self.load_image, range(self.ni))):
                self.ims[i], self.im_hw0[i], self.im_hw[i] = found
