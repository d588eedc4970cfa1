"""What Prometheus and Grafana need to watch the deployments. Pure."""
