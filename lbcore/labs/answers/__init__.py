"""Answers to the labs, right and wrong, each as a student would write it: what the checkers are tested with."""
