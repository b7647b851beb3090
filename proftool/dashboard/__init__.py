"""The local dashboard: stored runs, and running services with their requests, traces, queries and alerts. One process, loopback only.

guard.py decides who may ask, pages.py what is answered where, server.py how it starts and ends. runs.py, services.py, traces.py, queries.py
and alerts.py hold a view's documents, html.py and assets.py how they become pages, live.py what is new.
"""
