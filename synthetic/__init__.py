"""Datasets: a private sample in; synthetic rows, privacy evidence and drift out."""
