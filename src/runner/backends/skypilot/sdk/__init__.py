"""The one place that speaks to SkyPilot's SDK. Run as a program of its own (`__main__`), never imported by ours."""
