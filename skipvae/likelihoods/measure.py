"""The meaning of log p(x): the log of a probability, or of a density, and of which data."""

from enum import StrEnum


class Measure(StrEnum):
    """The meaning of the number log p(x), whose value is in words: "log p(x) is {measure}", and so in metrics.json.

    A probability and a density are not comparable: a density depends on the unit of x, and of data that take few values
    it is unbounded.

    Example:
        >>> Measure.BYTES_BOUND.is_density, str(Measure.BYTES)
        (False, 'a log-probability of 8-bit values')
    """

    BINARY = "a log-probability of binary values"
    BYTES = "a log-probability of 8-bit values"
    BYTES_BOUND = "a lower bound of the log-probability of 8-bit values, by uniform dequantisation"
    DENSITY = "a log-density in the unit of x, which may be above 0"
    NEITHER = "no log-density: a Bernoulli likelihood of grey values; take skipvae.likelihoods.DiscretizedLogistic"

    @property
    def is_density(self) -> bool:
        """Whether it is the log of a density, and not of a probability."""
        return self is Measure.DENSITY

    def is_comparable(self, other: "Measure") -> bool:
        """Whether numbers of both meanings for the same data can be compared."""
        bytes_ = {Measure.BYTES, Measure.BYTES_BOUND}
        return self is other or {self, other} == bytes_
