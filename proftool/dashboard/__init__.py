"""The local dashboard: every stored run, its page, a diff of two, and how a command's total moved over time. One process, loopback only.

guard.py decides who may ask, pages.py what is answered, server.py how it starts and ends.
"""
