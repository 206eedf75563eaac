"""The Python API, public under `runner`: `runner.launch`, `runner.sweep`, …"""
