"""What a planted bug is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bug:
    """``text``, which occurs once in ``file``, with ``instead`` in its place."""

    name: str
    file: str
    text: str
    instead: str
    breaks: str  # in a sentence, for the table
    tests: tuple[str, ...] = ()  # NAME or NAME::TEST of a test_NAME.py, where it is likely noticed: these run first
    why_not: str = ""  # nobody can notice it: the reason, for an equivalent change

    @property
    def is_native(self) -> bool:
        return self.file.startswith("csrc/")

    @property
    def is_emulated(self) -> bool:
        """Whether the tests of the emulated CUDA kernels have to notice it."""
        return self.file.startswith("csrc/cuda/")

    def likely_tests(self) -> list[str]:
        """For pytest's command line, in the root of the tree."""
        tests = Path(__file__).parents[2]
        found = []
        for test in self.tests:
            name, colons, own = test.partition("::")
            (path,) = tests.rglob(f"test_{name}.py")
            found.append(f"{path.relative_to(tests.parent).as_posix()}{colons}{own}")
        return found

    def planted(self, source: str) -> str:
        if source.count(self.text) != 1:
            raise ValueError(
                f"the text of the planted bug {self.name} must occur once in {self.file}, "
                f"it occurs {source.count(self.text)} times"
            )
        return source.replace(self.text, self.instead)
