"""Bytes and their meaning. Importing any part of it teaches numba the seam (`seam_numba`, `words_numba`)."""

from lbcore.wire import seam_numba as seam_numba
from lbcore.wire import words_numba as words_numba
