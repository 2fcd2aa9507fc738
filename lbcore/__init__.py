"""The library behind the book: packets, backend choice, measurement, figures, labs. Import the part you need."""

__version__ = "0.1.0"
