"""The loader lab: from a Python function to a program in the kernel, every step to be read."""
