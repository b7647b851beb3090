"""Continuous profiles of many processes as facts in ClickHouse: written by services, aggregated in the engine, read as one profile."""
