"""A batch that grows: small while the gradient is far above its noise, large when it is not.

GPT-3 grew its batch linearly from 32k tokens to the full size over the first 4 to 12 billion
tokens (Brown et al. 2020, section 2.3 and appendix B). Here it doubles, so that only a few shapes
compile, and each size lasts for as many steps: then the tokens that a size sees are in proportion
to it, and the doublings follow that straight line from below.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """Batches in units of the smallest one; with the defaults, always one."""

    full: int = 1
    """Units of the full batch: a power of two."""
    steps: int = 0
    """Steps before the batch is full."""

    @property
    def multiples(self) -> tuple[int, ...]:
        """All sizes, ascending."""
        return tuple(2**stage for stage in range(self.full.bit_length()))

    def multiple_at(self, step: int) -> int:
        """Units of batch `step`, counted from 0."""
        if step >= self.steps:
            return self.full
        return 2 ** (step * (self.full.bit_length() - 1) // self.steps)

    def units_before(self, step: int) -> int:
        """Units of all batches before `step`."""
        doublings = self.full.bit_length() - 1
        units = max(0, step - self.steps) * self.full
        for stage in range(doublings):
            begin = -(-stage * self.steps // doublings)
            end = -(-(stage + 1) * self.steps // doublings)
            units += (min(step, end) - min(step, begin)) * 2**stage
        return units

    def parts(self, accumulation: int, multiple: int) -> int:
        """Parts of a batch of this size, if the full one has `accumulation`.

        They are of the same shape, as long as there is more than one.
        """
        return max(1, accumulation * multiple // self.full)
