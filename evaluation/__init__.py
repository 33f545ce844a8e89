"""Metrics, scores, tables and the report; reads files only and knows no model."""
