"""What panels of a training run share: play, pause, step, rewind, and what went wrong."""

from __future__ import annotations

import contextlib
from abc import abstractmethod

from labkit.panels.base import Panel
from labkit.training.session import Player

SETTLE_S = 2.0  # seconds to wait for the painter's last frame


class PlayerPanel(Panel):
    """A panel whose pictures stream while a `Player` makes steps."""

    _failed = False

    @property
    @abstractmethod
    def player(self) -> Player:
        """What makes the steps."""

    def _headless(self) -> None:
        self.player.run()

    def _streaming(self) -> bool:
        return self.player.running

    @property
    def failure(self) -> BaseException | None:
        """What a step raised; None where the run goes well."""
        return self.player.error

    def stop(self) -> None:
        """Pause the run."""
        self.player.pause()

    def _tell(self) -> None:
        error = self.player.error
        if error is not None:
            self._fail(error)
        elif self._failed:  # it goes on, or starts anew
            self.alert("")
        self._failed = error is not None

    # --- buttons ---------------------------------------------------------------------------

    def _play(self) -> None:
        self.player.play()
        self.paint()

    def _pause(self) -> None:
        self.player.pause()
        self.painter.join(SETTLE_S)

    def _step(self) -> None:
        with contextlib.suppress(Exception):  # it is kept as the player's error, and shown
            self.player.step()
        self.paint()

    def _rewind(self) -> None:
        self.player.rewind()
        self._settle()

    def _settle(self) -> None:
        """Let the painter end, and paint what there is now."""
        self.painter.join(SETTLE_S)
        self.paint()
