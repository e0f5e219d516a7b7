"""Checks: pure functions of a History, each giving Findings."""
