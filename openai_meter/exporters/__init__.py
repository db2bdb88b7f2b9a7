"""Metrics for other systems: OpenTelemetry, Prometheus, and dashboards and alert rules for Grafana."""
