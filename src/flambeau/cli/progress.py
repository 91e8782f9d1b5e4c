"""A progress bar: tqdm's where it is installed, a plain line otherwise."""

import sys
import time
from types import TracebackType


class Progress:
    """Counts `total` steps and shows a text beside them; use it in a `with` block."""

    def __init__(self, total: int, title: str) -> None:
        self.total, self.title, self.done = total, title, 0
        self.start = self.shown = time.monotonic()
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self.bar = None
        else:
            self.bar = tqdm(total=total, desc=title, unit="step", mininterval=0.2, dynamic_ncols=True)

    def step(self, note: str) -> None:
        """One step is done."""
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update()
            return
        # A terminal sees it move; a log gets a line every few seconds.
        pause = 0.2 if sys.stderr.isatty() else 5.0
        if time.monotonic() - self.shown >= pause or self.done == self.total:
            self.shown = time.monotonic()
            self.show(note)

    def show(self, note: str) -> None:
        spent = time.monotonic() - self.start
        left = spent / self.done * (self.total - self.done)
        line = f"{self.title}: {self.done}/{self.total} {100 * self.done // self.total:3d}%, {left:.0f} s left, {note}"
        end = "\r" if sys.stderr.isatty() and self.done < self.total else "\n"
        print(f"{line:<78}", end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is not None:
            print(file=sys.stderr)
