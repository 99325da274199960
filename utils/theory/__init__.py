"""Theory: the course's layers written out in NumPy, and their arithmetic in closed form."""

from utils.theory import arithmetic, reference

__all__ = ["arithmetic", "reference"]
