"""Tests of the async client: written by hand."""
