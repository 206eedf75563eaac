"""Measuring a model: loss, generations, exact match."""
