"""What a running job says of itself: the names of metrics and log fields, which dashboards rely on. No Ray here."""
