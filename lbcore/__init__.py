"""The library behind the book: packets, backend choice, measurement, figures and labs, each part imported on its own."""

__version__ = "0.1.0"
